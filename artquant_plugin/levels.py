"""The scale: level words, their values, the answer that carries them, and soft labels on them (numpy and scipy)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import entr, softmax

from artquant_plugin.errors import ArtQuantError

LEVEL_NAMES = ("excellent", "good", "fair", "poor", "bad")
LEVEL_VALUES = (10.0, 7.5, 5.0, 3.5, 1.0)
ANSWER_PREFIX = "The quality of the painting is"

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LevelScale:
    """K level words and the score that each stands for.

    Args:
        names: level words, best first.
        values: one score per name, strictly descending, in the dataset's own unit (ArtQuant, section "Primary
            scoring task": l_i in Eq. 3; 10, 7.5, 5, 3.5, 1 in the released code).

    Example:
        >>> scale = LevelScale()
        >>> float(scale.expectation([0.5, 0.5, 0.0, 0.0, 0.0]))
        8.75
    """

    names: tuple[str, ...] = LEVEL_NAMES
    values: tuple[float, ...] = LEVEL_VALUES
    _array: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values) or len(self.names) < 2:
            raise ArtQuantError(
                f"{len(self.names)} level names and {len(self.values)} level values; give one value per name, "
                "two levels at least"
            )
        if len(set(self.names)) != len(self.names):
            raise ArtQuantError(f"level names {list(self.names)} repeat a word; each level needs its own")
        values = np.asarray(self.values, dtype=np.float64)
        if not np.all(np.isfinite(values)) or not np.all(np.diff(values) < 0):
            raise ArtQuantError(f"level values {list(self.values)} must be finite and descend, best level first")
        object.__setattr__(self, "_array", values)

    @property
    def low(self) -> float:
        """The lowest score that a distribution over the levels can express."""
        return self.values[-1]

    @property
    def high(self) -> float:
        """The highest score that a distribution over the levels can express."""
        return self.values[0]

    def expectation(self, probabilities: ArrayLike) -> FloatArray:
        """Score of a distribution over the levels (ArtQuant, Eq. 3).

        Args:
            probabilities: shape (..., K), each row summing to 1.

        Returns:
            Shape (...), in [low, high].
        """
        return np.asarray(probabilities, dtype=np.float64) @ self._array

    def soft_labels(self, scores: ArrayLike, method: str = "sbde", *, sigma: float | None = None) -> FloatArray:
        """Distributions over the levels whose expectation is the score.

        ``sbde`` (Score-Based Distribution Estimation, ArtQuant, Eqs. 3-5) is the normalised Gaussian on the level
        values, p_i ∝ exp(-(l_i - mu)² / 2 sigma²), with mu solved per score. The equations leave sigma free: it is
        fixed here at a ninth of the levels' range unless given, 1.0 for values from 1 to 10, the scale of the
        released solver's solutions. A score at an end of the range gets a one-hot row.

        Args:
            scores: n scores in [low, high], in the unit of `values`.
            method: ``sbde``.
            sigma: the Gaussian's standard deviation in the unit of `values`; positive.

        Returns:
            Shape (n, K), float64; |expectation - score| <= 1e-9.

        Raises:
            ArtQuantError: a score is not finite or outside [low, high]; sigma is not positive; unknown method.

        Example:
            >>> LevelScale().soft_labels([10.0, 5.0]).round(3).tolist()
            [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.086, 0.771, 0.143, 0.0]]
        """
        if method != "sbde":
            raise ArtQuantError(f"label method {method!r} is unknown; use 'sbde'")
        scores = np.atleast_1d(np.asarray(scores, dtype=np.float64))
        sigma = (self.high - self.low) / 9 if sigma is None else sigma
        if not (np.isfinite(sigma) and sigma > 0):
            raise ArtQuantError(f"sigma {sigma} is not a positive number; leave it out or pass one such as 1.0")
        bad = ~((scores >= self.low) & (scores <= self.high))
        if bad.any():
            raise ArtQuantError(
                f"score {scores[bad][0]:g} ({int(bad.sum())} of {scores.size} scores) is outside the levels' range "
                f"[{self.low:g}, {self.high:g}]; set levels.values so that they span the dataset's scores"
            )
        return self._sbde(scores, sigma)

    def _sbde(self, scores: FloatArray, sigma: float) -> FloatArray:
        # mu enters only as the tilt t = mu / sigma² of exp(-l² / 2 sigma²), in which the expectation rises strictly.
        centred = self._array - self._array.mean()
        base = -(centred**2) / (2 * sigma**2)
        labels = np.zeros((scores.size, len(self.values)))
        labels[scores == self.high, 0] = 1.0
        labels[scores == self.low, -1] = 1.0
        inside = (scores > self.low) & (scores < self.high)
        if not inside.any():
            return labels

        def probabilities(tilt: FloatArray) -> FloatArray:
            return softmax(tilt[..., None] * centred + base, axis=-1)

        def gap(tilt: FloatArray, score: FloatArray) -> FloatArray:
            return probabilities(tilt) @ self._array - score

        # Past this tilt every level but the outermost has underflowed, so that the root is inside.
        bound = (750.0 + np.ptp(base)) / np.abs(np.diff(centred)).min()
        found = elementwise.find_root(
            gap,
            (np.full(int(inside.sum()), -bound), np.full(int(inside.sum()), bound)),
            args=(scores[inside],),
            tolerances={"xatol": 0.0, "xrtol": 1e-15, "fatol": 1e-13, "frtol": 0.0},
            maxiter=400,
        )
        labels[inside] = probabilities(found.x)
        return labels


def entropy(probabilities: ArrayLike) -> FloatArray:
    """Entropy of level distributions in nats.

    Args:
        probabilities: shape (..., K).

    Returns:
        Shape (...), in [0, log K].
    """
    return np.sum(entr(np.asarray(probabilities, dtype=np.float64)), axis=-1)
