"""Estimates of the entropies in the paper's Theorems 1 to 3, in nats, and whether their bounds hold.

D is a painting's description, Y its score as one of K levels, Z what a model knows of the painting.

- Theorem 1, H(Y|Z) <= H(D|Z) + H(Y|D,Z), is the chain rule: H(Y|Z) <= H(D,Y|Z) = H(D|Z) + H(Y|D,Z).
- Theorem 2, H(Y|Z) <= H(D|Z) + H(Y|D), holds without the paper's assumption that Y and Z are independent given D:
  knowing more cannot raise an entropy, so that H(Y|D,Z) <= H(Y|D).
- Theorem 3 adds epsilon · log K + H2(epsilon) to that bound. Both terms are at least 0, so that it only becomes
  looser; `Bounds.looser_by` says by how much.

An entropy of real paintings is not known. The mean negative log-likelihood of a model's predictions on paintings that
it was not trained on exceeds it by the model's divergence from the truth (Gibbs' inequality). All three estimates are
therefore upper bounds in expectation. That the estimates obey a theorem confirms nothing that a proof leaves open; how
far apart its two sides are is what they tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy
from scipy.stats import binomtest

from artquant_plugin.common.errors import ArtQuantError

CALIBRATION_BINS = 10  # of equal width over the probabilities from 0 to 1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over paintings.

    Args:
        nats: the mean over the paintings, in nats.
        error: its standard error, in nats; NaN for fewer than two paintings.
        paintings: the number of paintings that it is the mean of.
    """

    nats: float
    error: float
    paintings: int


@dataclass(frozen=True, slots=True)
class DescriptionSurprise:
    """How surprised a model is by descriptions: estimates of H(D|Z), which are upper bounds in expectation.

    Args:
        per_description: nats of a whole description; this is the term of the theorems.
        per_token: nats of a token, each token counting alike; this is the generation loss, and no bound of H(Y|Z).
    """

    per_description: Estimate
    per_token: float


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions of similar probability.

    Args:
        predicted: the mean probability that the model gave, from 0 to 1.
        observed: how often the level with that probability was the true one, from 0 to 1.
        predictions: the number of pairs of a painting and a level, at least 1.
    """

    predicted: float
    observed: float
    predictions: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Both sides of the theorems.

    Args:
        y_given_z: H(Y|Z) in nats, what is to be bounded.
        d_given_z: H(D|Z) in nats, of a whole description.
        y_given_d: H(Y|D) in nats, for one who reads the description alone.
        levels: the number K of levels, at least 2.
        epsilon: the probability from 0 to 1 that a description is wrong about its painting.
        y_given_dz: H(Y|D,Z) in nats; None where it was not estimated.
    """

    y_given_z: float
    d_given_z: float
    y_given_d: float
    levels: int
    epsilon: float = 0.0
    y_given_dz: float | None = None

    @property
    def chain_rule(self) -> float | None:
        """The right side of Theorem 1, in nats; None without H(Y|D,Z)."""
        return None if self.y_given_dz is None else self.d_given_z + self.y_given_dz

    @property
    def through_description(self) -> float:
        """The right side of Theorem 2, in nats."""
        return self.d_given_z + self.y_given_d

    @property
    def looser_by(self) -> float:
        """What Theorem 3 adds to Theorem 2: epsilon · log K + H2(epsilon), in nats, at least 0."""
        return self.epsilon * math.log(self.levels) + binary_entropy(self.epsilon)

    @property
    def with_errors(self) -> float:
        """The right side of Theorem 3, in nats."""
        return self.through_description + self.looser_by


def exact_bounds(joint: ArrayLike, epsilon: float = 0.0) -> Bounds:
    """The entropies of a joint distribution that is known.

    Args:
        joint: probabilities of shape (descriptions, levels, representations), none negative, with the sum 1.
        epsilon: the probability from 0 to 1 that a description is wrong about its painting.

    Raises:
        ArtQuantError: the array has another shape, is no distribution, or has fewer than two levels.

    Example:
        >>> bounds = exact_bounds(np.full((2, 2, 1), 0.25))  # a fair coin for the description, another for the level
        >>> round(bounds.y_given_z / math.log(2), 12), round(bounds.d_given_z / math.log(2), 12)
        (1.0, 1.0)
    """
    p = np.asarray(joint, dtype=np.float64)
    if p.ndim != 3 or p.shape[1] < 2:
        raise ArtQuantError(f"a joint distribution of shape {p.shape} is not (descriptions, 2 levels or more, states)")
    if not (p.min() >= 0 and math.isclose(p.sum(), 1.0, abs_tol=1e-9)):
        raise ArtQuantError(
            f"the joint distribution sums to {p.sum():g}, least {p.min():g}; normalise it to a sum of 1"
        )
    d, y, z = 0, 1, 2
    return Bounds(
        y_given_z=_entropy(p.sum(axis=d)) - _entropy(p.sum(axis=(d, y))),
        d_given_z=_entropy(p.sum(axis=y)) - _entropy(p.sum(axis=(d, y))),
        y_given_d=_entropy(p.sum(axis=z)) - _entropy(p.sum(axis=(y, z))),
        y_given_dz=_entropy(p) - _entropy(p.sum(axis=y)),
        levels=p.shape[1],
        epsilon=epsilon,
    )


def level_cross_entropy(probabilities: ArrayLike, levels: Sequence[int]) -> Estimate:
    """The mean negative log-likelihood of true levels: H(Y|Z) for a model that sees, H(Y|D) for one that reads.

    Args:
        probabilities: a model's distribution over the K levels for each of n held-out paintings, shape (n, K).
        levels: the paintings' true levels, as indices from 0, in the same order; n at least 1.

    Returns:
        The mean, infinite where a true level has the probability 0.

    Raises:
        ArtQuantError: the arguments do not fit together, or a row is no distribution.
    """
    rows, truth = _checked(probabilities, levels)
    with np.errstate(divide="ignore"):
        return _mean(-np.log(rows[np.arange(len(rows)), truth]))


def calibration(probabilities: ArrayLike, levels: Sequence[int]) -> tuple[list[CalibrationBin], float]:
    """How well the probabilities of levels agree with how often these levels are true.

    Args:
        probabilities: a model's distribution over the K levels for each of n held-out paintings, shape (n, K).
        levels: the paintings' true levels, as indices from 0, in the same order; n at least 1.

    Returns:
        The bins that hold predictions, by rising probability; and the calibration error, from 0 to 1: the mean over
        all predictions of their bin's absolute difference between `predicted` and `observed`.

    Raises:
        ArtQuantError: the arguments do not fit together, or a row is no distribution.
    """
    rows, truth = _checked(probabilities, levels)
    true = np.zeros_like(rows)
    true[np.arange(len(rows)), truth] = 1
    place = np.minimum((rows * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = [
        CalibrationBin(float(rows[inside].mean()), float(true[inside].mean()), int(inside.sum()))
        for inside in (place == index for index in range(CALIBRATION_BINS))
        if inside.any()
    ]
    return bins, sum(abs(each.predicted - each.observed) * each.predictions for each in bins) / rows.size


def description_surprise(nats: ArrayLike, tokens: Sequence[int]) -> DescriptionSurprise:
    """Estimates of H(D|Z) from the likelihoods of held-out descriptions.

    Args:
        nats: the negative log-likelihood of each of n descriptions, summed over its tokens, shape (n,), n at least 1.
        tokens: the number of tokens of each description, at least 1, in the same order.

    Raises:
        ArtQuantError: the arguments do not fit together.
    """
    sums, counts = np.asarray(nats, dtype=np.float64), np.asarray(tokens)
    if sums.ndim != 1 or sums.shape != counts.shape or not len(sums) or counts.min() < 1:
        raise ArtQuantError(
            f"{sums.size} likelihoods and {counts.size} numbers of tokens do not fit; give both for each description, "
            "with a token at least"
        )
    return DescriptionSurprise(_mean(sums), float(sums.sum() / counts.sum()))


def error_rate(rejected: int, judged: int) -> tuple[float, float]:
    """An epsilon from a judge's verdicts: how often a description does not go with its painting's score.

    The rejected share of the generator's drafts estimates epsilon_gen. For epsilon_ver, judge descriptions again that
    were accepted: the rejected share of those estimates it. Their sum is the epsilon of Theorem 3.

    Args:
        rejected: the number of descriptions that the judge rejected, from 0.
        judged: the number of descriptions that the judge decided on, at least 1.

    Returns:
        The share, and the upper end of its 95 % interval (Wilson), both from 0 to 1.

    Raises:
        ArtQuantError: the counts do not fit together.
    """
    if not 0 <= rejected <= judged or judged < 1:
        raise ArtQuantError(f"{rejected} rejected of {judged} judged is no share; count verdicts, one at least")
    return rejected / judged, float(binomtest(rejected, judged).proportion_ci(0.95, method="wilson").high)


def binary_entropy(probability: float) -> float:
    """H2, the entropy of an event and its opposite, in nats, from 0 to log 2.

    Args:
        probability: the probability of the event, from 0 to 1.

    Raises:
        ArtQuantError: the probability lies outside of [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ArtQuantError(f"{probability:g} is no probability; epsilon_ver and epsilon_gen together are at most 1")
    return _entropy(np.array([probability, 1 - probability]))


def _entropy(p: NDArray[np.float64]) -> float:
    return float(-xlogy(p, p).sum()) + 0.0  # turns the -0.0 of a certain event into 0.0


def _mean(values: NDArray[np.float64]) -> Estimate:
    count = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 and np.isfinite(values).all() else math.nan
    return Estimate(float(values.mean()), error, count)


def _checked(probabilities: ArrayLike, levels: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(levels)
    if rows.ndim != 2 or truth.shape != rows.shape[:1] or not len(rows):
        raise ArtQuantError(
            f"{rows.shape} probabilities and {truth.size} levels do not fit; give a row for each level"
        )
    if not (np.issubdtype(truth.dtype, np.integer) and truth.min() >= 0 and truth.max() < rows.shape[1]):
        raise ArtQuantError(f"levels from {truth.min()} to {truth.max()} are no indices of {rows.shape[1]} levels")
    if rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-6:
        raise ArtQuantError("a row of the levels' probabilities does not sum to 1; pass those of `artquant score`")
    return rows, truth
