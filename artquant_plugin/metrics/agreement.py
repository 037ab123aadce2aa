"""Agreement of predicted with human scores: SROCC, PLCC, MAE, RMSE, and their intervals (numpy and scipy only)."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.metrics.resampling import doubled_midranks, resampled_counts, tie_groups

RESAMPLES = 2000
LEVEL = 0.95

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A value with its 95 % bootstrap interval; NaN bounds when none was asked for or none exists."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, slots=True)
class Agreement:
    """All metrics of n pairs."""

    n: int
    srocc: Metric
    plcc: Metric
    mae: Metric
    rmse: Metric


def srocc(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rank correlation, ties at their mean rank.

    Args:
        prediction: n scores, any unit.
        truth: n scores.

    Returns:
        In [-1, 1]; NaN, with a warning, when either side is constant or holds a NaN.

    Raises:
        ArtQuantError: the lengths differ, or there is no pair.

    Example:
        >>> round(srocc([1, 2, 3, 4], [1, 2, 4, 3]), 4)
        0.8
    """
    prediction, truth = _pairs(prediction, truth)
    if not _usable(prediction, truth, "SROCC"):
        return float("nan")
    return _correlation(rankdata(prediction), rankdata(truth))


def plcc(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's linear correlation of the raw scores; arguments and result as `srocc`.

    Example:
        >>> round(plcc([1, 2, 3], [1, 2, 4]), 4)
        0.982
    """
    prediction, truth = _pairs(prediction, truth)
    return _correlation(prediction, truth) if _usable(prediction, truth, "PLCC") else float("nan")


def mae(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error, in the unit of the scores; NaN when a prediction is."""
    prediction, truth = _pairs(prediction, truth)
    return float(np.abs(prediction - truth).mean())


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the scores; NaN when a prediction is."""
    prediction, truth = _pairs(prediction, truth)
    return float(np.sqrt(np.square(prediction - truth).mean()))


def evaluate(
    ids: Sequence[str],
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """All metrics with percentile bootstrap intervals over images.

    Pairs are put in the order of their ids first, so that the result does not depend on the order given.

    Args:
        ids: n different names.
        prediction: n scores.
        truth: n scores.
        resamples: bootstrap resamples; 0 leaves the intervals NaN.
        seed: of the resampling.

    Raises:
        ArtQuantError: lengths differ, no pairs, or an id stands twice.
    """
    prediction, truth = _pairs(prediction, truth)
    if len(ids) != len(prediction):
        raise ArtQuantError(f"{len(ids)} ids for {len(prediction)} pairs; give one per pair")
    order = sorted(range(len(ids)), key=lambda index: ids[index])
    for before, after in zip(order, order[1:], strict=False):
        if ids[before] == ids[after]:
            raise ArtQuantError(f"id {ids[after]!r} stands twice; every image may be scored once")
    prediction, truth = prediction[order], truth[order]
    values = np.array([metric(prediction, truth) for metric in (srocc, plcc, mae, rmse)])
    bounds = np.full((2, 4), np.nan)
    if resamples and np.isfinite(values).all():
        draws = bootstrap(prediction, truth, resamples=resamples, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN columns give NaN bounds, as they should
            bounds = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    metrics = [Metric(float(v), float(low), float(high)) for v, low, high in zip(values, *bounds, strict=True)]
    return Agreement(len(order), *metrics)


def bootstrap(prediction: ArrayLike, truth: ArrayLike, *, resamples: int, seed: int) -> FloatArray:
    """Metrics of resamples drawn with replacement.

    Each side is sorted once. A resample is a vector of counts; the mean rank of a group of ties in it is a running
    sum of these counts, so that no resample is sorted, and the rank sums are exact in integers below 2**53.

    Args:
        prediction: n finite scores.
        truth: n finite scores.
        resamples: R.
        seed: of `numpy.random.default_rng`. Row r of the resamples holds n positions in the ascending (stable) order
            of the predictions.

    Returns:
        Shape (R, 4): SROCC, PLCC, MAE, RMSE; NaN where a resample is constant on a side.
    """
    prediction, truth = _pairs(prediction, truth)
    # In the order of the predictions, their ranks need no lookup.
    by_prediction = np.argsort(prediction, kind="stable")
    prediction, truth = prediction[by_prediction], truth[by_prediction]
    by_truth = np.argsort(truth, kind="stable")
    ties_x, ties_y = tie_groups(prediction), tie_groups(truth[by_truth])
    n = len(prediction)
    x, y = prediction - prediction.mean(), truth - truth.mean()
    errors = prediction - truth
    # Columns whose count-weighted means give the linear metrics.
    moments = np.stack([x, y, x * x, y * y, x * y, np.abs(errors), errors**2], axis=1) / n
    ranked = np.empty(resamples)
    sums = np.empty((resamples, moments.shape[1]))
    for start, counts in resampled_counts(n, resamples, seed):
        for row, count in enumerate(counts):
            rank_x, squares_x = doubled_midranks(count, ties_x)
            rank_y, squares_y = doubled_midranks(count[by_truth], ties_y)
            # Weighted in the predictions' order, then brought to the truths': one lookup instead of two.
            weighted = (count * rank_x)[by_truth]
            norm = math.sqrt(squares_x * squares_y)
            ranked[start + row] = weighted @ rank_y / norm if norm else math.nan
        sums[start : start + len(counts)] = counts.astype(np.float64) @ moments
    mean_x, mean_y, xx, yy, xy, absolute, squared = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        linear = (xy - mean_x * mean_y) / np.sqrt((xx - mean_x**2) * (yy - mean_y**2))
    # Constant resamples are known exactly from their ranks, unlike from a variance in floating point.
    linear = np.where(np.isnan(ranked), np.nan, linear.clip(-1, 1))
    return np.stack([ranked, linear, absolute, np.sqrt(squared)], axis=1)


def _pairs(prediction: ArrayLike, truth: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.asarray(prediction, dtype=np.float64)
    y = np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ArtQuantError(f"predictions of shape {x.shape} and truths of shape {y.shape}; give two equal lists")
    if not len(x):
        raise ArtQuantError("there is no pair of prediction and truth; nothing was scored")
    return x, y


def _usable(prediction: FloatArray, truth: FloatArray, metric: str) -> bool:
    for name, values in (("predictions", prediction), ("truths", truth)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            warnings.warn(
                f"{metric} is NaN: {bad} of {len(values)} {name} are not finite", ArtQuantWarning, stacklevel=3
            )
            return False
        if (values == values[0]).all():
            warnings.warn(
                f"{metric} is NaN: all {len(values)} {name} equal {values[0]:g}", ArtQuantWarning, stacklevel=3
            )
            return False
    return True


def _correlation(x: FloatArray, y: FloatArray) -> float:
    x, y = x - x.mean(), y - y.mean()
    # Scaling first keeps tiny and huge values from under- and overflowing in the products.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))
