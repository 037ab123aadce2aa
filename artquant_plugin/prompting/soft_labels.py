"""Soft labels: distributions over the levels that stand for scores, computed for a whole dataset at once.

`LevelScale.soft_labels` checks its arguments and calls these functions, which do not check theirs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise
from scipy.special import softmax
from scipy.stats import norm

from artquant_plugin.common.errors import ArtQuantError

FloatArray = NDArray[np.float64]

# DeQA's own numbers (GitHub zhiyuanyou/DeQA-Score at 8e4abc8), in units of the mean distance between two levels. With
# a smaller standard deviation, or a larger error of the expectation once negative probabilities are cut, the two
# levels around the score share it.
SMALLEST_DEVIATION = 0.2
LARGEST_ERROR = 0.1


def sbde(values: FloatArray, scores: FloatArray, sigma: float) -> FloatArray:
    """Score-Based Distribution Estimation (ArtQuant, Eqs. 3-5): a Gaussian on the level values, normalised.

    Args:
        values: the levels' values, shape (K,), strictly descending.
        scores: scores of shape (n,), within the values' range; one at an end of it gets a one-hot row.
        sigma: the Gaussian's standard deviation, positive, in the unit of the values.

    Returns:
        Labels of shape (n, K) that sum to 1 per row, with |expectation - score| <= 1e-9.
    """
    labels = np.zeros((scores.size, values.size))
    labels[scores == values[0], 0] = 1.0
    labels[scores == values[-1], -1] = 1.0
    inside = (scores > values[-1]) & (scores < values[0])
    if inside.any():
        bound = _steepest(values, sigma)
        # The expectation rises with the tilt, so that a table of expectations brackets the tilt of each score closely.
        table = bound * np.sinh(np.linspace(-12, 12, 4001)) / np.sinh(12)
        after = np.searchsorted(_tilted(values, sigma, table) @ values, scores[inside]).clip(1, len(table) - 1)
        tilts = _tilts(values, scores[inside], sigma, table[after - 1], table[after])
        labels[inside] = _exact(values, scores[inside], _tilted(values, sigma, tilts))
    return labels


def sbde_constrained(values: FloatArray, scores: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """ArtQuant's Eq. 5 to the letter: mu and sigma such that the density's values at the levels sum to 1 unnormalised.

    The sum of a density at points a distance d apart is about 1/d when its standard deviation exceeds d, and less
    half-way between two of them when it does not. With d > 1 it reaches 1 only where the score is a level.

    Args:
        values: the levels' values, shape (K,), strictly descending.
        scores: scores of shape (n,), within the values' range.

    Returns:
        Labels of shape (n, K), and whether each score has a solution, shape (n,). Rows without a solution are zero.
    """
    # As sigma grows, the sum rises to a maximum and falls, so that there are up to two roots. The one with the larger
    # sigma is taken, which is the smoother distribution.
    grid = np.geomspace(1e-2, 10.0, 400) * (values[0] - values[-1])
    sums = np.stack([_density_sum(values, scores, np.full(scores.size, sigma)) for sigma in grid])
    above = sums >= 1.0
    solved = above.any(axis=0) & ~above[-1]
    labels = np.zeros((scores.size, values.size))
    if solved.any():
        last = len(grid) - 1 - above[::-1, solved].argmax(axis=0)
        root = elementwise.find_root(
            lambda sigma, score: _density_sum(values, score, sigma) - 1.0,
            (grid[last], grid[last + 1]),
            args=(scores[solved],),
        )
        labels[solved] = _tilted(values, root.x, _tilts_of_sigmas(values, scores[solved], root.x))
    return labels, solved


def gaussian(values: FloatArray, scores: FloatArray, deviations: FloatArray) -> FloatArray:
    """DeQA's labels: the mass of N(score, deviation) in each level's region, corrected linearly to the score.

    A level's region reaches half-way to its neighbours; an outermost one reaches as far to its other side. The
    correction alpha · mass + beta gives each row the sum 1 and the score as its expectation. Where it makes a
    probability negative, that one is set to 0, as DeQA's code does without dividing by the new sum: a row then sums to
    more than 1, to 1.1 at most. The two levels around the score share it instead where the deviation is small, where
    the cut would move the expectation too far, and where alpha is negative, which turns the Gaussian upside down. The
    last happens with unevenly spaced values alone, for which DeQA has no labels.

    Args:
        values: the levels' values, shape (K,), strictly descending.
        scores: scores of shape (n,), within the values' range.
        deviations: standard deviations of the raters' scores, shape (n,), in the unit of the values; 0 where all
            raters agree.

    Returns:
        Labels of shape (n, K), none negative, whose rows sum to at least 1 and at most 1.1. Without regard to the sum,
        labels @ values is within a tenth of the levels' mean distance of the score, where values are counted as below.
    """
    # DeQA's limits hold for levels that are 1, 2, … K. Counted so, each value is at least 1. What the cut adds to the
    # expectation is at most LARGEST_ERROR, so that what it adds to the sum is no more.
    spacing = -np.diff(values).mean()
    levels = (values - values[-1]) / spacing + 1
    centres, widths = (scores - values[-1]) / spacing + 1, deviations / spacing
    gaps = -np.diff(levels)
    edges = np.concatenate([[levels[0] + gaps[0] / 2], levels[1:] + gaps / 2, [levels[-1] - gaps[-1] / 2]])
    # A width of 0 has no Gaussian; labels of widths below the smallest one are replaced at the end.
    mass = -np.diff(norm.cdf(edges, centres[:, None], np.maximum(widths, SMALLEST_DEVIATION)[:, None]), axis=1)
    total, mean, count = mass.sum(axis=1), mass @ levels, values.size
    # Solve for alpha and beta. Where the mass has the mean of the levels as its own expectation, the equations are
    # singular and beta is 0. A Gaussian so wide that the mass underflows has no solution: NaN compares as False.
    determinant = total * levels.sum() - count * mean
    centred = np.abs(determinant) <= 1e-9 * np.abs(total * levels.sum())
    safe = np.where(centred, 1.0, determinant)
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.where(centred, 1.0 / total, (levels.sum() - count * centres) / safe)
        beta = np.where(centred, 0.0, (total * centres - mean) / safe)
        labels = np.clip(alpha[:, None] * mass + beta[:, None], 0.0, None)
        kept = (widths >= SMALLEST_DEVIATION) & (alpha > 0) & (np.abs(labels @ levels - centres) <= LARGEST_ERROR)
    labels[~kept] = _two_levels(values, scores[~kept])
    return labels


def onehot(values: FloatArray, scores: FloatArray) -> FloatArray:
    """Q-Align's labels: the range is cut into K equal parts, one per level (arXiv:2312.17090, Eq. 1).

    Args:
        values: the levels' values, shape (K,), strictly descending; the outermost are the ends of the range.
        scores: scores of shape (n,), within the range; a score on a border belongs to the lower part.

    Returns:
        Labels of shape (n, K), with one 1 per row and 0 elsewhere.
    """
    share = (scores - values[-1]) / (values[0] - values[-1]) * values.size
    from_below = np.clip(np.ceil(share).astype(int) - 1, 0, values.size - 1)
    return np.eye(values.size)[values.size - 1 - from_below]


def _two_levels(values: FloatArray, scores: FloatArray) -> FloatArray:
    """Labels in which the two levels around each score share it, such that the expectation is the score."""
    lower = _level_below(values, scores)
    upper = lower - 1
    share = (scores - values[lower]) / (values[upper] - values[lower])
    labels = np.zeros((scores.size, values.size))
    rows = np.arange(scores.size)
    labels[rows, upper], labels[rows, lower] = share, 1.0 - share
    return labels


def _level_below(values: FloatArray, scores: FloatArray) -> NDArray[np.intp]:
    """Index of the level at or below each score, at least 1; the level above has the index before it."""
    return np.clip(np.searchsorted(-values, -scores, side="left"), 1, values.size - 1)


def _tilts(values: FloatArray, scores: FloatArray, sigma: Any, low: FloatArray, high: FloatArray) -> FloatArray:
    """The tilt (mu - mean of the values) / sigma² of each score, which lies between `low` and `high`."""
    root = elementwise.find_root(
        lambda tilt, score, width: _tilted(values, width, tilt) @ values - score,
        (low, high),
        args=(scores, np.broadcast_to(sigma, scores.shape)),
        tolerances={"xatol": 0.0, "xrtol": 1e-15, "fatol": 1e-13, "frtol": 0.0},
        maxiter=400,
    )
    return root.x


def _tilts_of_sigmas(values: FloatArray, scores: FloatArray, sigma: FloatArray) -> FloatArray:
    """The tilt of each score for a sigma of its own, without bounds that are known before."""
    bound = np.full(scores.size, _steepest(values, float(np.min(sigma))))
    return _tilts(values, scores, sigma, -bound, bound)


def _steepest(values: FloatArray, sigma: float) -> float:
    """A tilt beyond which the probability of every level but an outermost one underflows to 0."""
    return float((750.0 + np.ptp(values) ** 2 / (2 * sigma**2)) / np.abs(np.diff(values)).min())


def _exact(values: FloatArray, scores: FloatArray, labels: FloatArray) -> FloatArray:
    """Remove the rounding error of the expectation, which a small sigma makes visible, by the two levels around it."""
    rows, lower = np.arange(scores.size), _level_below(values, scores)
    upper = lower - 1
    change = (scores - labels @ values) / (values[upper] - values[lower])
    possible = (labels[rows, upper] + change >= 0) & (labels[rows, lower] - change >= 0)
    labels[rows, upper] += np.where(possible, change, 0.0)
    labels[rows, lower] -= np.where(possible, change, 0.0)
    return labels


def _tilted(values: FloatArray, sigma: float | FloatArray, tilt: FloatArray) -> FloatArray:
    """The normalised Gaussian on the levels, written with a tilt instead of mu, which stays finite at the ends."""
    centred = values - values.mean()
    return softmax(tilt[..., None] * centred - centred**2 / (2 * np.asarray(sigma)[..., None] ** 2), axis=-1)


def _density_sum(values: FloatArray, scores: FloatArray, sigma: FloatArray) -> FloatArray:
    """Sum of the Gaussian density at the levels, with the mu for which the normalised one has the score as mean."""
    mu = values.mean() + _tilts_of_sigmas(values, scores, sigma) * sigma**2
    return norm.pdf(values, mu[:, None], sigma[:, None]).sum(axis=1)


def check_deviations(deviations: FloatArray | None, scores: FloatArray) -> FloatArray:
    """Check the raters' standard deviations.

    Args:
        deviations: one standard deviation per score, shape (n,); None where the dataset has none.
        scores: the n scores that they belong to, shape (n,).

    Returns:
        The deviations as they were given.

    Raises:
        ArtQuantError: they are missing, of another number than the scores, not finite, or negative.
    """
    if deviations is None:
        raise ArtQuantError(
            "label method 'gaussian' needs the raters' standard deviations, which the dataset lacks; use 'sbde'"
        )
    if deviations.shape != scores.shape:
        raise ArtQuantError(f"{deviations.size} standard deviations for {scores.size} scores; give one per score")
    bad = ~(np.isfinite(deviations) & (deviations >= 0))
    if bad.any():
        raise ArtQuantError(
            f"standard deviation {deviations[bad][0]:g} of score {scores[bad][0]:g} is no number from 0; use 'sbde'"
        )
    return deviations
