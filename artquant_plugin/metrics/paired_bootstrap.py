"""Paired bootstrap: the correlations of several models in the same resamples of the same images (numpy only)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.resampling import doubled_midranks, resampled_counts, tie_groups

FloatArray = NDArray[np.float64]


def paired_bootstrap(predictions: ArrayLike, truth: ArrayLike, *, resamples: int, seed: int) -> FloatArray:
    """SROCC and PLCC of each model in resamples that all models share.

    Each model's correlation is computed once per resample, from counts over images that were sorted once (see
    `metrics.bootstrap`), so that any number of pairs costs no more than the models that they are made of.

    Args:
        predictions: finite scores, shape (M, n).
        truth: n finite scores.
        resamples: R.
        seed: of `numpy.random.default_rng`. Row r of the resamples holds n positions in the ascending (stable) order
            of the truths.

    Returns:
        Shape (R, M, 2): SROCC and PLCC; NaN where a resample is constant on a side.

    Raises:
        ArtQuantError: the shapes do not fit.
    """
    scores, truth = np.asarray(predictions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[1:] or not truth.size:
        raise ArtQuantError(
            f"predictions of shape {scores.shape} and truths of shape {truth.shape}; give (M, n) and n"
        )
    by_truth = np.argsort(truth, kind="stable")
    scores, truth = scores[:, by_truth], truth[by_truth]
    models, n = scores.shape
    orders = np.argsort(scores, axis=1, kind="stable")
    ties = [tie_groups(row[order]) for row, order in zip(scores, orders, strict=True)]
    truth_ties = tie_groups(truth)
    x, y = scores - scores.mean(axis=1, keepdims=True), truth - truth.mean()
    # Columns whose count-weighted means give the linear correlations: M of each, then two of the truth's own.
    moments = np.concatenate([x, x * x, x * y, y[None], y[None] ** 2]).T / n
    ranked = np.empty((resamples, models))
    sums = np.empty((resamples, moments.shape[1]))
    for start, counts in resampled_counts(n, resamples, seed):
        for row, count in enumerate(counts):
            truth_ranks, truth_squares = doubled_midranks(count, truth_ties)
            weighted = count * truth_ranks
            for model in range(models):
                order = orders[model]
                ranks, squares = doubled_midranks(count[order], ties[model])
                norm = math.sqrt(squares * truth_squares)
                ranked[start + row, model] = weighted[order] @ ranks / norm if norm else math.nan
        sums[start : start + len(counts)] = counts.astype(np.float64) @ moments
    mean_x, xx, xy = sums[:, :models], sums[:, models : 2 * models], sums[:, 2 * models : 3 * models]
    mean_y, yy = sums[:, -2:-1], sums[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        linear = (xy - mean_x * mean_y) / np.sqrt((xx - mean_x**2) * (yy - mean_y**2))
    # Constant resamples are known exactly from their ranks, unlike from a variance in floating point.
    linear = np.where(np.isnan(ranked), np.nan, linear.clip(-1, 1))
    return np.stack([ranked, linear], axis=2)


def two_sided_p(draws: ArrayLike) -> float:
    """How often a bootstrapped difference lies on the other side of zero, doubled.

    The level at which the percentile interval just touches zero; one is added to both counts, so that p is never
    zero and no smaller than R resamples can tell.

    Args:
        draws: R differences; NaN ones are left out.

    Returns:
        In [2 / (R + 1), 1]; NaN when there is no draw.

    Source:
        Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 15.4; Davison & Hinkley 1997, "Bootstrap
        Methods and their Application", section 4.2.5, for the added one.

    Example:
        >>> two_sided_p([0.2, 0.1, 0.3, -0.1])
        0.8
    """
    known = np.asarray(draws, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return math.nan
    smaller = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (known.size + 1))
