"""Pearson's correlation that rounding does not falsify: huge offsets, tiny spreads, outliers (numpy only)."""

import math

import numpy as np
from numpy.typing import NDArray

TRUSTED = 1e-4  # share of the mean square that a variance must have for its difference to keep 12 digits
UNDERFLOW = 1e-200  # squares below it, or their products, may have lost digits or become 0

FloatArray = NDArray[np.float64]


def standardized(values: FloatArray) -> FloatArray:
    """Move values by their median and scale them, without rounding errors that are large against their spread.

    Pearson's correlation is the same for the result. Subtracting a value of about the same size is exact, so that the
    last digits of values such as 5.000000000000001 survive; subtracting the mean, which is rounded itself, would not
    let them. Scaling by a power of two changes no digit, and its squares neither overflow nor vanish.

    Args:
        values: n finite values; shape (n,), with n at least 1.

    Returns:
        The moved values, of which the largest distance from 0 is in [0.5, 1); all of them are 0 when all values are
        equal. Shape (n,).
    """
    moved = _scaled(values)
    middle = len(moved) // 2
    return _scaled(moved - np.partition(moved, middle)[middle])


def deviations(values: FloatArray, counts: NDArray[np.intp] | None = None) -> FloatArray:
    """The standardized values less their mean.

    Args:
        values: n finite values; shape (n,), with n at least 1.
        counts: how often each value counts, whole numbers from 1; None to count each once. Shape (n,).

    Returns:
        The deviations, on a scale on which the largest distance from the median is in [0.5, 1); shape (n,).
    """
    moved = standardized(values)
    for _ in range(2):  # the second time subtracts the rounding error of the first mean
        moved = moved - (moved.mean() if counts is None else (counts @ moved) / counts.sum())
    return moved


def pearson(x: FloatArray, y: FloatArray, counts: NDArray[np.intp] | None = None) -> float:
    """Pearson's correlation.

    Args:
        x: n finite values; shape (n,), with n at least 1.
        y: n finite values in the same order; shape (n,).
        counts: how often each pair counts, whole numbers from 1; None to count each pair once. Shape (n,).

    Returns:
        The correlation, in [-1, 1]; NaN where one side is constant.
    """
    x, y = deviations(x, counts), deviations(y, counts)
    weighted_x, weighted_y = (x, y) if counts is None else (counts * x, counts * y)
    norm = math.sqrt((weighted_x @ x) * (weighted_y @ y))
    return float(np.clip((weighted_x @ y) / norm, -1, 1)) if norm else math.nan


class ResampledPearson:
    """Pearson's correlations of several models with the same human scores, in resamples that are given as counts.

    The correlations follow from weighted means of the values' products, one matrix multiplication for all resamples.
    Where the resample's variance is small against the mean square, the difference of the two has lost its digits. So
    it is in a resample that leaves out an outlier, or the few values that differ. Those are computed one by one.

    Args:
        x: the scores of M models on n images, all finite; shape (M, n).
        y: the n human scores, all finite; shape (n,).
    """

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._x, self._y = x, y
        columns_x, column_y = np.stack([standardized(row) for row in x]), standardized(y)[None]
        columns = [columns_x, columns_x**2, columns_x * column_y, column_y, column_y**2]
        self._columns = np.concatenate(columns).T / len(y)

    def __call__(self, counts: NDArray[np.intp]) -> FloatArray:
        """Compute the correlations.

        Args:
            counts: how often each resample holds each image; shape (R, n), each row with the sum n.

        Returns:
            The correlations; shape (R, M), NaN where a side of the resample is constant.
        """
        models = len(self._x)
        means = counts.astype(np.float64) @ self._columns
        mean_x, xx, xy = means[:, :models], means[:, models : 2 * models], means[:, 2 * models : 3 * models]
        mean_y, yy = means[:, -2:-1], means[:, -1:]
        var_x, var_y = xx - mean_x**2, yy - mean_y**2
        trusted = (var_x > TRUSTED * xx) & (xx > UNDERFLOW) & (var_y > TRUSTED * yy) & (yy > UNDERFLOW)
        found = np.full(xx.shape, math.nan)
        np.divide(xy - mean_x * mean_y, np.sqrt(var_x * var_y, where=trusted, out=found), where=trusted, out=found)
        for resample, model in np.argwhere(~trusted):
            drawn = np.flatnonzero(counts[resample])
            found[resample, model] = pearson(self._x[model][drawn], self._y[drawn], counts[resample][drawn])
        return found.clip(-1, 1)


def _scaled(values: FloatArray) -> FloatArray:
    """The values times the power of two that brings the largest magnitude into [0.5, 1)."""
    _, exponent = math.frexp(float(np.abs(values).max()))
    return np.ldexp(values, -exponent)
