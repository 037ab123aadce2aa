"""The paired bootstrap: correlations of several models in the same resamples of the same images (numpy only)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.metrics.pearson import ResampledPearson
from artquant_plugin.metrics.resampling import doubled_midranks, resampled_counts, tie_groups

FloatArray = NDArray[np.float64]


def paired_bootstrap(predictions: ArrayLike, truth: ArrayLike, *, resamples: int, seed: int) -> FloatArray:
    """Compute the SROCC and PLCC of each model in resamples that all models share.

    Each model's correlations are computed once per resample, from counts over images that were sorted once, as
    `metrics.agreement.bootstrap_agreement` does. Comparing any number of pairs of models then costs no more than that.

    Args:
        predictions: the scores of M models on the same n images, all finite; shape (M, n).
        truth: the n human scores, all finite; shape (n,).
        resamples: the number R of resamples; 0 gives an empty result.
        seed: the seed of `numpy.random.default_rng`. A resample holds n positions in the ascending (stable) order of
            the human scores.

    Returns:
        SROCC and PLCC of each resample and model; shape (R, M, 2). Both are NaN in a resample in which the model's
        scores, or the human ones, are constant.

    Raises:
        ArtQuantError: the shapes do not fit, or n is 0.
    """
    scores, truth = np.asarray(predictions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[1:] or not truth.size:
        raise ArtQuantError(
            f"predictions of shape {scores.shape} and truths of shape {truth.shape}; give shapes (M, n) and (n,)"
        )
    by_truth = np.argsort(truth, kind="stable")
    scores, truth = scores[:, by_truth], truth[by_truth]
    models, n = scores.shape
    orders = np.argsort(scores, axis=1, kind="stable")
    ties = [tie_groups(row[order]) for row, order in zip(scores, orders, strict=True)]
    truth_ties = tie_groups(truth)
    linear = ResampledPearson(scores, truth)
    draws = np.empty((resamples, models, 2))
    for start, counts in resampled_counts(n, resamples, seed):
        for row, count in enumerate(counts):
            truth_ranks, truth_squares = doubled_midranks(count, truth_ties)
            weighted = count * truth_ranks
            for model in range(models):
                order = orders[model]
                ranks, squares = doubled_midranks(count[order], ties[model])
                norm = math.sqrt(squares * truth_squares)
                draws[start + row, model, 0] = weighted[order] @ ranks / norm if norm else math.nan
        draws[start : start + len(counts), :, 1] = linear(counts)
    return draws


def two_sided_p(draws: ArrayLike) -> float:
    """The two-sided p-value of a bootstrapped difference: twice the share of resamples on the far side of zero.

    This is the level at which the percentile interval just touches zero. One is added to numerator and denominator,
    so that p is never 0 and never smaller than R resamples can show.

    Args:
        draws: the difference in each of the R resamples; shape (R,). NaN values are left out and not counted in R.

    Returns:
        p, in [2 / (R + 1), 1]; NaN when R is 0.

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
