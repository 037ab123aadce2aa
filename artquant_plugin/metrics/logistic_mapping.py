"""PLCC after a fitted logistic mapping, which papers on image quality report beside or instead of the raw PLCC."""

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
    """A logistic mapping that was fitted from predictions to human scores.

    Args:
        plcc: Pearson correlation of the mapped predictions with the human scores, in [-1, 1].
        parameters: the fitted b1, b2, b3 and b4 of `logistic`; b4 is above 0.
    """

    plcc: float
    parameters: tuple[float, float, float, float]


def logistic(scores: ArrayLike, parameters: ArrayLike) -> FloatArray:
    """Compute (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2.

    Args:
        scores: the scores x; any shape.
        parameters: b1 and b2, the values far above and far below the middle; b3, the middle; b4, the width, which
            must not be 0.

    Returns:
        The mapped scores, in the shape of `scores`.

    Source:
        Video Quality Experts Group 2000, "Final report from the Video Quality Experts Group on the validation of
        objective models of video quality assessment", section 6; Sheikh et al. 2006 as most papers cite it.
    """
    b1, b2, b3, b4 = np.asarray(parameters, dtype=np.float64)
    return (b1 - b2) * expit((np.asarray(scores, dtype=np.float64) - b3) / abs(b4)) + b2


def fit_logistic(prediction: ArrayLike, truth: ArrayLike) -> LogisticFit | None:
    """Fit the logistic mapping by least squares.

    As is the custom in papers, the mapping is fitted to the same scores that its PLCC is then computed on. That PLCC
    is hardly ever below the raw one and may be far above it, so it is reported as an extra, never as the main figure.

    Args:
        prediction: the n predicted scores, finite and in any unit; shape (n,).
        truth: the n human scores in the same order, all finite; shape (n,).

    Returns:
        The fit; None when n is below 5, when one side is constant, or when the fit does not converge or is constant.
    """
    x, y = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.size < 5 or (x == x[0]).all() or (y == y[0]).all():
        return None
    # Standardized predictions let the fit converge from the same start, whatever the tool's scale. Where predictions
    # differ by rounding alone, or are near the largest float, a mapping would be one of rounding errors.
    with np.errstate(over="ignore", invalid="ignore"):
        middle, spread = float(x.mean()), float(x.std())
        scaled = (x - middle) / spread
    if not np.isfinite(scaled).all() or abs(float(scaled.mean())) > 1e-3 or not np.isfinite(np.square(y)).all():
        return None
    sign = math.copysign(1.0, plcc(x, y))
    ends = (y.max(), y.min()) if sign > 0 else (y.min(), y.max())
    best = least_squares(lambda b: logistic(scaled, b) - y, [*ends, 0.0, 1.0], method="lm", max_nfev=4000)
    mapped = logistic(scaled, best.x)
    if not best.success or not np.isfinite(mapped).all() or not np.ptp(mapped):
        return None
    b1, b2, b3, b4 = (float(value) for value in best.x)
    return LogisticFit(plcc(mapped, y), (b1, b2, b3 * spread + middle, abs(b4) * spread))
