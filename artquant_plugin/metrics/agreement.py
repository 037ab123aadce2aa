"""Agreement of predicted with human scores: SROCC, PLCC, MAE, RMSE, and their intervals (numpy and scipy only)."""

import math
import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.text import one_line
from artquant_plugin.metrics.influence import pearson_influence, spearman_influence
from artquant_plugin.metrics.pearson import UNDERFLOW, ResampledPearson, deviations, pearson
from artquant_plugin.metrics.resampling import LARGEST, doubled_midranks, resampled_counts, tie_groups

RESAMPLES = 2000
CONFIDENCE = 0.95  # of every interval: the share of samples whose interval holds the true value
FEWEST = 10  # pairs; with fewer, a 95 % bootstrap interval may hold the true correlation in 75 % of samples alone
LAST_DIGITS = 1000  # units in the last place of a float; values that differ by less differ by rounding
ID_WIDTH = 60  # characters of an id that a caution names
ONE_PAIR = 0.5  # share of a side's variance; PLCC rests on a pair that holds more

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """The value of a metric and its 95 % interval.

    Args:
        value: the metric over all pairs; NaN where it is not defined.
        low: lower bound of the interval, in the metric's unit; NaN when no interval was asked for, none exists, or
            there are fewer than `FEWEST` pairs.
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
        cautions: sentences about why the figures may mislead, for every table and page to show: too few pairs, values
            that differ by rounding alone, one pair on which the PLCC rests, resamples without a correlation.
    """

    n: int
    srocc: Metric
    plcc: Metric
    mae: Metric
    rmse: Metric
    cautions: tuple[str, ...] = ()

    @property
    def too_few(self) -> bool:
        """Whether there are fewer pairs than intervals and tests need."""
        return self.n < FEWEST


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
    return pearson(rankdata(prediction), rankdata(truth))


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
    return pearson(prediction, truth) if _has_correlation(prediction, truth, "PLCC") else float("nan")


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
    errors = _absolute_errors(prediction, truth)
    return float((errors / len(errors)).sum())  # the sum of the errors themselves may be above all floats


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
    return _root_mean_square(_absolute_errors(prediction, truth))


def evaluate(
    ids: Sequence[str],
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Compute all metrics, with 95 % intervals over images.

    The intervals are percentiles of the bootstrap. Above `LARGEST` pairs they follow from the influence values of the
    pairs, to which the bootstrap comes arbitrarily close, so that millions of pairs need no resampling.

    The pairs are sorted by id first, so that the result does not depend on the order in which they are given.

    Args:
        ids: the n ids of the images, all different.
        prediction: the n predicted scores, in the order of the ids; shape (n,).
        truth: the n human scores, in the order of the ids; shape (n,).
        resamples: the number of bootstrap resamples; with 0 the bounds of all intervals are NaN.
        seed: the seed of the resampling.

    Returns:
        The metrics. Where a correlation is NaN, or n is below `FEWEST`, the bounds of all intervals are NaN.

    Raises:
        ArtQuantError: the lengths differ, n is 0, or an id occurs twice.
    """
    prediction, truth = _as_arrays(prediction, truth)
    if len(ids) != len(prediction):
        raise ArtQuantError(f"{len(ids)} ids for {len(prediction)} pairs; give one per pair")
    if not all(map(operator.lt, ids, islice(ids, 1, None))):
        order = sorted(range(len(ids)), key=ids.__getitem__)
        for before, after in pairwise(order):
            if ids[before] == ids[after]:
                raise ArtQuantError(f"id {ids[after]!r} occurs twice; remove one of its scores")
        ids, prediction, truth = [ids[index] for index in order], prediction[order], truth[order]
    values = np.array([metric(prediction, truth) for metric in (srocc, plcc, mae, rmse)])
    bounds = np.full((2, 4), np.nan)
    cautions: list[str] = []
    if np.isfinite(values[:2]).all():
        cautions = _cautions(ids, prediction, truth)
        if resamples and len(ids) > LARGEST:
            bounds = _normal_bounds(values, prediction, truth)
        elif resamples and len(ids) >= FEWEST:
            draws = bootstrap_agreement(prediction, truth, resamples=resamples, seed=seed)
            bounds = around(values, percentile_bounds(draws))
            if math.isnan(bounds[0, 0]):
                cautions.append(
                    "one side is constant in more than 5 % of the resamples, so that SROCC and PLCC have no interval: "
                    "too few of its values differ"
                )
    ranked, linear, absolute, squared = (
        Metric(float(value), float(low), float(high)) for value, low, high in zip(values, *bounds, strict=True)
    )
    return Agreement(len(ids), ranked, linear, absolute, squared, tuple(cautions))


def bootstrap_agreement(prediction: ArrayLike, truth: ArrayLike, *, resamples: int, seed: int) -> FloatArray:
    """Compute one model's metrics in bootstrap resamples, which are drawn with replacement.

    Each side is sorted once. A resample is a vector that says how often each pair was drawn. The mid-rank of tied
    values follows from a running sum of these counts, so that no resample needs to be sorted; the sums of ranks stay
    below 2**53 and are exact.

    Args:
        prediction: the n predicted scores, all finite; shape (n,), with n up to 200,000 for exact sums.
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
    linear = ResampledPearson(prediction[None], truth)
    errors = _absolute_errors(prediction, truth)
    draws = np.empty((resamples, 4))
    for start, counts in resampled_counts(n, resamples, seed):
        for row, count in enumerate(counts):
            rank_x, squares_x = doubled_midranks(count, ties_x)
            rank_y, squares_y = doubled_midranks(count[by_truth], ties_y)
            # Weighting before reordering to the order of the truths takes one lookup instead of two.
            weighted = (count * rank_x)[by_truth]
            both = math.sqrt(squares_x * squares_y)
            draws[start + row, 0] = weighted @ rank_y / both if both else math.nan
        part = slice(start, start + len(counts))
        draws[part, 1] = linear(counts)[:, 0]
        draws[part, 2] = counts @ (errors / n)
        draws[part, 3] = _resampled_root_mean_square(errors, counts)
    return draws


def percentile_bounds(draws: FloatArray) -> FloatArray:
    """The bounds of 95 % intervals: percentiles of what resamples gave.

    Args:
        draws: k metrics in R resamples, NaN where a resample has none; shape (R, k), with R at least 1.

    Returns:
        The lower and the upper bounds; shape (2, k). They are NaN for a metric that more than 5 % of the resamples do
        not have, since nobody knows on which side of the bounds these would be.
    """
    unknown = np.isnan(draws).mean(axis=0) > 1 - CONFIDENCE
    known = np.where(unknown, 0.0, draws)
    bounds = np.nanquantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return np.where(unknown, np.nan, bounds)


def around(values: FloatArray, bounds: FloatArray) -> FloatArray:
    """Bounds that hold their value where rounding alone has put it outside of them.

    Args:
        values: the k metrics over all pairs; shape (k,).
        bounds: the lower and the upper bound of each; shape (2, k).

    Returns:
        The bounds; one that lies beyond its value by less than 1e-9 of the value's size, or of 1, is the value itself.
    """
    slack = 1e-9 * np.maximum(np.abs(values), 1.0)
    low, high = bounds
    low = np.where((low > values) & (low - values < slack), values, low)
    high = np.where((high < values) & (values - high < slack), values, high)
    return np.stack([low, high])


def _normal_bounds(values: FloatArray, prediction: FloatArray, truth: FloatArray) -> FloatArray:
    """The bounds of all metrics from the influence values of the pairs; shape (2, 4)."""
    errors = _absolute_errors(prediction, truth)
    with np.errstate(over="ignore", invalid="ignore"):
        influence = (
            spearman_influence(prediction, truth),
            pearson_influence(prediction, truth),
            errors - values[2],
            (errors**2 - values[3] ** 2) / (2 * values[3]) if values[3] else np.zeros(1),
        )
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * np.array([standard_error(each) for each in influence])
    lowest, highest = np.array([-1.0, -1.0, 0.0, 0.0]), np.array([1.0, 1.0, np.inf, np.inf])
    return np.stack([np.maximum(values - half, lowest), np.minimum(values + half, highest)])


def standard_error(influence: FloatArray) -> float:
    """The standard error of a metric, from the influence values of its n pairs; shape (n,)."""
    return float(np.linalg.norm(influence)) / len(influence)


def _cautions(ids: Sequence[str], prediction: FloatArray, truth: FloatArray) -> list[str]:
    """What `Agreement.cautions` says of pairs that have a correlation; the resamples are looked at elsewhere."""
    n = len(ids)
    found = []
    if n < FEWEST:
        found.append(f"{n} pairs are too few for intervals and tests, which take {FEWEST} or more")
    for name, values in (("prediction", prediction), ("human score", truth)):
        low, high = float(values.min()), float(values.max())
        if high / 2 - low / 2 < LAST_DIGITS / 2 * np.spacing(max(abs(low), abs(high))):
            found.append(
                f"the {name}s differ in their last digits alone, from {low!r} to {high!r}: the correlations are those "
                "of rounding errors"
            )
        squares = deviations(values) ** 2
        largest = int(squares.argmax())
        share = float(squares[largest] / squares.sum())
        if n >= FEWEST and share > ONE_PAIR:
            found.append(
                f"PLCC and its interval rest on {one_line(ids[largest], ID_WIDTH)!r}, whose {name} "
                f"{values[largest]:g} has {100 * share:.0f} % of the {name}s' variance: see whether it is right, and "
                "compare by SROCC"
            )
    return found


def _absolute_errors(prediction: FloatArray, truth: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):  # infinite predictions, and those near the largest float
        return np.abs(prediction - truth)


def _root_mean_square(errors: FloatArray) -> float:
    """The root of the mean square, without overflow or underflow of the squares."""
    largest = float(errors.max())
    if not 0 < largest < math.inf:  # NaN, too
        return largest
    return largest * math.sqrt(float(((errors / largest) ** 2).mean()))


def _resampled_root_mean_square(errors: FloatArray, counts: NDArray[np.intp]) -> FloatArray:
    """The root of the mean square in each resample; counts of shape (R, n), result of shape (R,)."""
    largest = float(errors.max())
    if not 0 < largest < math.inf:
        return np.full(len(counts), largest)
    squares = counts @ ((errors / largest) ** 2 / len(errors))
    found = largest * np.sqrt(squares)
    for resample in np.flatnonzero(squares < UNDERFLOW):  # it leaves out an error beside which all others vanish
        found[resample] = _root_mean_square(np.repeat(errors, counts[resample]))
    return found


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
