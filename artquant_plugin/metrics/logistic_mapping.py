"""PLCC after a logistic mapping: what image quality papers report beside, or instead of, the raw correlation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import expit

from artquant_plugin.metrics.agreement import plcc

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """A fitted mapping from predictions to human scores.

    Args:
        plcc: of the mapped predictions.
        parameters: b1 to b4 of `logistic`.
    """

    plcc: float
    parameters: tuple[float, float, float, float]


def logistic(scores: ArrayLike, parameters: ArrayLike) -> FloatArray:
    """(b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2.

    Args:
        scores: x, any shape.
        parameters: b1 and b2, the ends; b3, the middle; b4, the width, not zero.

    Source:
        Video Quality Experts Group 2000, "Final report from the Video Quality Experts Group on the validation of
        objective models of video quality assessment", section 6; Sheikh et al. 2006 as most papers cite it.
    """
    b1, b2, b3, b4 = np.asarray(parameters, dtype=np.float64)
    return (b1 - b2) * expit((np.asarray(scores, dtype=np.float64) - b3) / abs(b4)) + b2


def fit_logistic(prediction: ArrayLike, truth: ArrayLike) -> LogisticFit | None:
    """Fit the mapping by least squares on the very scores that it is then measured on, as is the custom.

    Such a figure is never below the raw PLCC by much and may be far above it: an extra, not a headline.

    Args:
        prediction: n finite scores, any unit.
        truth: n finite scores.

    Returns:
        None where a side is constant, where there are fewer pairs than parameters, or where no fit is found.
    """
    x, y = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.size < 5 or not np.ptp(x) or not np.ptp(y):
        return None
    # In units of the predictions' spread, so that any tool's scale converges alike.
    middle, spread = float(x.mean()), float(x.std())
    scaled = (x - middle) / spread
    sign = math.copysign(1.0, plcc(x, y))
    ends = (y.max(), y.min()) if sign > 0 else (y.min(), y.max())
    best = least_squares(lambda b: logistic(scaled, b) - y, [*ends, 0.0, 1.0], method="lm", max_nfev=4000)
    mapped = logistic(scaled, best.x)
    if not best.success or not np.isfinite(mapped).all() or not np.ptp(mapped):
        return None
    b1, b2, b3, b4 = (float(value) for value in best.x)
    return LogisticFit(plcc(mapped, y), (b1, b2, b3 * spread + middle, abs(b4) * spread))
