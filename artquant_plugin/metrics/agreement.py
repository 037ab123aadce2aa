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
    """The value of a metric and its 95 % bootstrap interval.

    Args:
        value: the metric over all pairs; NaN where it is not defined.
        low: lower bound of the interval, in the metric's unit; NaN when no interval was asked for, or none exists.
        high: upper bound of the interval; NaN when `low` is.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well n predictions agree with the human scores of the same paintings.

    Args:
        n: number of pairs of a prediction and a human score; at least 1.
        srocc: Spearman's rank correlation, in [-1, 1].
        plcc: Pearson's linear correlation, in [-1, 1].
        mae: mean absolute error, in the unit of the scores.
        rmse: root of the mean squared error, in the unit of the scores.
    """

    n: int
    srocc: Metric
    plcc: Metric
    mae: Metric
    rmse: Metric


def srocc(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rank correlation. Tied values share the mean of their ranks.

    Args:
        prediction: the n predicted scores, in any unit; shape (n,).
        truth: the n human scores in the same order; shape (n,).

    Returns:
        The correlation, in [-1, 1]. It is NaN, and a warning says why, when one side is constant or holds a NaN or an
        infinite value.

    Raises:
        ArtQuantError: the two lengths differ, or n is 0.

    Example:
        >>> round(srocc([1, 2, 3, 4], [1, 2, 4, 3]), 4)
        0.8
    """
    prediction, truth = _as_arrays(prediction, truth)
    if not _has_correlation(prediction, truth, "SROCC"):
        return float("nan")
    return _correlation(rankdata(prediction), rankdata(truth))


def plcc(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's linear correlation of the scores as they are, without a fitted mapping.

    Args:
        prediction: the n predicted scores, in any unit; shape (n,).
        truth: the n human scores in the same order; shape (n,).

    Returns:
        The correlation, in [-1, 1]. It is NaN, and a warning says why, when one side is constant or holds a NaN or an
        infinite value.

    Raises:
        ArtQuantError: the two lengths differ, or n is 0.

    Example:
        >>> round(plcc([1, 2, 3], [1, 2, 4]), 4)
        0.982
    """
    prediction, truth = _as_arrays(prediction, truth)
    return _correlation(prediction, truth) if _has_correlation(prediction, truth, "PLCC") else float("nan")


def mae(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error, in the unit of the scores.

    Args:
        prediction: the n predicted scores, on the scale of the human ones; shape (n,).
        truth: the n human scores in the same order; shape (n,).

    Returns:
        At least 0; NaN when a value is NaN.

    Raises:
        ArtQuantError: the two lengths differ, or n is 0.
    """
    prediction, truth = _as_arrays(prediction, truth)
    return float(np.abs(prediction - truth).mean())


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the scores.

    Args:
        prediction: the n predicted scores, on the scale of the human ones; shape (n,).
        truth: the n human scores in the same order; shape (n,).

    Returns:
        At least 0; NaN when a value is NaN.

    Raises:
        ArtQuantError: the two lengths differ, or n is 0.
    """
    prediction, truth = _as_arrays(prediction, truth)
    return float(np.sqrt(np.square(prediction - truth).mean()))


def evaluate(
    ids: Sequence[str],
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Compute all metrics, with percentile bootstrap intervals over images.

    The pairs are sorted by id first, so that the result does not depend on the order in which they are given.

    Args:
        ids: the n ids of the images, all different.
        prediction: the n predicted scores, in the order of the ids; shape (n,).
        truth: the n human scores, in the order of the ids; shape (n,).
        resamples: the number of bootstrap resamples; with 0 the bounds of all intervals are NaN.
        seed: the seed of the resampling.

    Returns:
        The metrics. Where one of them is NaN, all intervals are.

    Raises:
        ArtQuantError: the lengths differ, n is 0, or an id occurs twice.
    """
    prediction, truth = _as_arrays(prediction, truth)
    if len(ids) != len(prediction):
        raise ArtQuantError(f"{len(ids)} ids for {len(prediction)} pairs; give one per pair")
    order = sorted(range(len(ids)), key=lambda index: ids[index])
    for before, after in zip(order, order[1:], strict=False):
        if ids[before] == ids[after]:
            raise ArtQuantError(f"id {ids[after]!r} occurs twice; remove one of its scores")
    prediction, truth = prediction[order], truth[order]
    values = np.array([metric(prediction, truth) for metric in (srocc, plcc, mae, rmse)])
    bounds = np.full((2, 4), np.nan)
    if resamples and np.isfinite(values).all():
        draws = bootstrap(prediction, truth, resamples=resamples, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a metric that no resample has gets NaN bounds
            bounds = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    metrics = [Metric(float(v), float(low), float(high)) for v, low, high in zip(values, *bounds, strict=True)]
    return Agreement(len(order), *metrics)


def bootstrap(prediction: ArrayLike, truth: ArrayLike, *, resamples: int, seed: int) -> FloatArray:
    """Compute the metrics in bootstrap resamples, which are drawn with replacement.

    Each side is sorted once. A resample is a vector that says how often each pair was drawn. The mid-rank of tied
    values follows from a running sum of these counts, so that no resample needs to be sorted; the sums of ranks stay
    below 2**53 and are exact.

    Args:
        prediction: the n predicted scores, all finite; shape (n,).
        truth: the n human scores in the same order, all finite; shape (n,).
        resamples: the number R of resamples; 0 gives an empty result.
        seed: the seed of `numpy.random.default_rng`. A resample holds n positions in the ascending (stable) order of
            the predictions.

    Returns:
        SROCC, PLCC, MAE and RMSE of each resample; shape (R, 4). The correlations are NaN in a resample in which one
        side is constant.

    Raises:
        ArtQuantError: the two lengths differ, or n is 0.
    """
    prediction, truth = _as_arrays(prediction, truth)
    # With the pairs in the order of the predictions, the predictions' ranks need no lookup.
    by_prediction = np.argsort(prediction, kind="stable")
    prediction, truth = prediction[by_prediction], truth[by_prediction]
    by_truth = np.argsort(truth, kind="stable")
    ties_x, ties_y = tie_groups(prediction), tie_groups(truth[by_truth])
    n = len(prediction)
    x, y = prediction - prediction.mean(), truth - truth.mean()
    errors = prediction - truth
    # PLCC, MAE and RMSE of a resample follow from the count-weighted means of these columns.
    moments = np.stack([x, y, x * x, y * y, x * y, np.abs(errors), errors**2], axis=1) / n
    ranked = np.empty(resamples)
    sums = np.empty((resamples, moments.shape[1]))
    for start, counts in resampled_counts(n, resamples, seed):
        for row, count in enumerate(counts):
            rank_x, squares_x = doubled_midranks(count, ties_x)
            rank_y, squares_y = doubled_midranks(count[by_truth], ties_y)
            # Weighting before reordering to the order of the truths takes one lookup instead of two.
            weighted = (count * rank_x)[by_truth]
            norm = math.sqrt(squares_x * squares_y)
            ranked[start + row] = weighted @ rank_y / norm if norm else math.nan
        sums[start : start + len(counts)] = counts.astype(np.float64) @ moments
    mean_x, mean_y, xx, yy, xy, absolute, squared = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        linear = (xy - mean_x * mean_y) / np.sqrt((xx - mean_x**2) * (yy - mean_y**2))
    # Ranks are integers and tell exactly whether a side is constant; a variance in floating point does not.
    linear = np.where(np.isnan(ranked), np.nan, linear.clip(-1, 1))
    return np.stack([ranked, linear, absolute, np.sqrt(squared)], axis=1)


def _as_arrays(prediction: ArrayLike, truth: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both sides as vectors of floats; an ArtQuantError where they are no vectors of the same length above 0."""
    x = np.asarray(prediction, dtype=np.float64)
    y = np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ArtQuantError(
            f"predictions of shape {x.shape} and truths of shape {y.shape}; give two lists of the same length"
        )
    if not len(x):
        raise ArtQuantError("there is no pair of a prediction and a human score; give at least one")
    return x, y


def _has_correlation(prediction: FloatArray, truth: FloatArray, metric: str) -> bool:
    """Whether both sides are finite and vary; otherwise a warning says why the metric is NaN."""
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
    # Without scaling, the products of tiny or huge values would underflow or overflow.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))
