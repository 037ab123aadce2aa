"""Influence values: how much one pair moves a metric. They give intervals of large data without resampling (numpy).

A bootstrap resample weights each pair by how often it was drawn. Its metric is the metric of all pairs plus the mean
of (weight - 1) times the pair's influence value, up to terms that shrink with 1 / n. The standard deviation of the
bootstrap, and by the central limit theorem its percentiles, then follow from the influence values alone.

Source:
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", sections 21.5 and 22.6 (the infinitesimal jackknife).
"""

import math

import numpy as np
from numpy.typing import NDArray

from artquant_plugin.metrics.pearson import deviations
from artquant_plugin.metrics.resampling import tie_groups

FloatArray = NDArray[np.float64]


def pearson_influence(x: FloatArray, y: FloatArray) -> FloatArray:
    """Influence values of Pearson's correlation.

    Args:
        x: n finite values that are not all equal; shape (n,).
        y: n finite values that are not all equal, in the same order; shape (n,).

    Returns:
        The influence values; shape (n,). Their sum is 0.
    """
    x, y = (side / math.sqrt(float((side**2).mean())) for side in (deviations(x), deviations(y)))
    r = float((x * y).mean())
    return x * y - r / 2 * (x**2 + y**2)


def spearman_influence(x: FloatArray, y: FloatArray) -> FloatArray:
    """Influence values of Spearman's correlation with mid-ranks for ties.

    A pair moves the correlation in two ways: by its own ranks, and by the ranks of all pairs above it, which it lifts.

    Args:
        x: n finite values that are not all equal; shape (n,).
        y: n finite values that are not all equal, in the same order; shape (n,).

    Returns:
        The influence values; shape (n,). Their sum is 0.
    """
    of_x, of_y = _Ranks(x), _Ranks(y)
    u, v = of_x.relative, of_y.relative
    # The mean of relative mid-ranks is 1/2 whatever the weights, so that a covariance is the mean product less 1/4.
    covariance, var_u, var_v = float(u @ v) / len(u) - 0.25, float(u @ u) / len(u) - 0.25, float(v @ v) / len(v) - 0.25
    by_product = u * v + of_x.mean_above(v) + of_y.mean_above(u)
    by_u, by_v = u**2 + 2 * of_x.mean_above(u), v**2 + 2 * of_y.mean_above(v)
    norm = math.sqrt(var_u * var_v)
    found = by_product / norm - covariance / norm * (by_u / (2 * var_u) + by_v / (2 * var_v))
    return found - found.mean()


class _Ranks:
    """The mid-ranks of n values, and means over the pairs above each one."""

    def __init__(self, values: FloatArray) -> None:
        self._order = np.argsort(values, kind="stable")
        self._ties = tie_groups(values[self._order])
        ends = np.arange(len(values)) if self._ties is None else self._ties[0]
        mid = (np.diff(ends, prepend=-1) / 2 + np.concatenate([[0], ends[:-1] + 1])) / len(values)
        self.relative = self._back(mid)
        """The relative mid-ranks, in (0, 1), in the order of the values; shape (n,)."""

    def mean_above(self, of: FloatArray) -> FloatArray:
        """For each pair the sum of `of` over the pairs above it, and half of it over those that tie, divided by n."""
        sums = of[self._order]
        if self._ties is not None:
            sums = np.add.reduceat(sums, np.concatenate([[0], self._ties[0][:-1] + 1]))
        upto = np.cumsum(sums)
        return self._back((upto[-1] - upto + sums / 2) / len(of))

    def _back(self, by_group: FloatArray) -> FloatArray:
        found = np.empty(len(self._order))
        found[self._order] = by_group if self._ties is None else by_group[self._ties[1]]
        return found
