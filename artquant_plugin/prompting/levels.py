"""The scale of scores: level words, their values, the answer that contains them, and soft labels over them."""

from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.texts import LONGEST_WORD, check_text, comparable

LEVEL_NAMES = ("excellent", "good", "fair", "poor", "bad")
LEVEL_VALUES = (10.0, 7.5, 5.0, 3.5, 1.0)
ANSWER_PREFIX = "The quality of the painting is"
LABEL_METHODS = ("sbde", "sbde_constrained", "gaussian", "onehot")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LevelScale:
    """K level words and the score that each stands for.

    Args:
        names: K different level words, best first; K is at least 2. Two that differ in case or white space alone
            count as the same. A word is one line of at most 100 characters, without white space at its ends.
        values: K finite scores, one per name, strictly descending, in the unit of the dataset's scores (ArtQuant,
            section "Primary scoring task": l_i in Eq. 3; 10, 7.5, 5, 3.5, 1 in the released code).

    Raises:
        ArtQuantError: names and values do not match in number, or break one of these rules.

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
        seen: dict[str, str] = {}
        for index, name in enumerate(self.names):
            check_text(name, "the level word", LONGEST_WORD)
            if name != name.strip():
                raise ArtQuantError(f"the level word {name!r} begins or ends with white space; leave it out")
            other = seen.setdefault(comparable(name), name)
            if len(seen) == index:  # the word added no key
                alike = "" if other == name else f", as {other!r} and {name!r} differ in case or white space alone"
                raise ArtQuantError(f"level names {list(self.names)} repeat a word{alike}; each level needs its own")
        for value in self.values:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ArtQuantError(f"level value {value!r} is no number; give each level word a number")
        try:
            values = np.asarray([float(value) for value in self.values], dtype=np.float64)
        except OverflowError as error:
            raise ArtQuantError("a level value is too large for a number; use a smaller one") from error
        if not np.all(np.isfinite(values)) or not np.all(np.diff(values) < 0):
            raise ArtQuantError(f"level values {list(self.values)} must be finite and descend, best level first")
        object.__setattr__(self, "values", tuple(values.tolist()))
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
        """The score that a distribution over the levels stands for: its expectation (ArtQuant, Eq. 3).

        Args:
            probabilities: distributions of shape (..., K), each summing to 1 along the last axis.

        Returns:
            Scores of shape (...), float64, in [low, high].
        """
        return np.asarray(probabilities, dtype=np.float64) @ self._array

    def soft_labels(
        self,
        scores: ArrayLike,
        method: str = "sbde",
        *,
        sigma: float | None = None,
        deviations: ArrayLike | None = None,
    ) -> FloatArray:
        """Distributions over the levels that stand for scores.

        - ``sbde``, Score-Based Distribution Estimation (ArtQuant, Eqs. 3-5): the normalised Gaussian on the level
          values, p_i ∝ exp(-(l_i - mu)² / 2 sigma²), with mu solved per score. The equations leave sigma free; the
          default is a ninth of the levels' range. That is 1.0 for values from 1 to 10, close to the solutions of the
          released solver (median 1.04). A score at an end of the range gets a one-hot row.
        - ``sbde_constrained``: sigma is chosen such that the density's values sum to 1 without normalisation, as Eq. 5
          is written; most scores have no such sigma.
        - ``gaussian``: DeQA's labels, which need the raters' standard deviations. A row sums to at least 1 and, where
          negative probabilities were set to 0, to 1.1 at most; DeQA does not normalise it either. DeQA's levels are
          evenly spaced. For others, a score whose correction would turn the Gaussian upside down is shared by the two
          levels around it.
        - ``onehot``: Q-Align's labels.

        Args:
            scores: n scores in [low, high], in the unit of `values`; a single number counts as n = 1.
            method: the name of a method in the list above.
            sigma: standard deviation of the Gaussian of ``sbde``, positive, in the unit of `values`; None for the
                default. The other methods do not use it.
            deviations: the raters' n standard deviations, from 0, in the unit of `values`; ``gaussian`` alone uses
                them, and needs them.

        Returns:
            Labels of shape (n, K), float64, none negative. Rows sum to 1, except those of ``gaussian``. Those of
            ``sbde`` have |expectation - score| <= 1e-9.

        Raises:
            ArtQuantError: a score is not finite or outside [low, high]; sigma is not positive; a deviation is
                negative, or all are missing; a score has no solution; the method is unknown.

        Example:
            >>> LevelScale().soft_labels([10.0, 5.0]).round(3).tolist()
            [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.086, 0.771, 0.143, 0.0]]
        """
        from artquant_plugin.prompting import soft_labels  # imports scipy, which scoring does without

        if method not in LABEL_METHODS:
            raise ArtQuantError(f"label method {method!r} is unknown; use one of {', '.join(LABEL_METHODS)}")
        scores = np.atleast_1d(np.asarray(scores, dtype=np.float64))
        bad = ~((scores >= self.low) & (scores <= self.high))
        if bad.any():
            raise ArtQuantError(
                f"score {scores[bad][0]:g} ({int(bad.sum())} of {scores.size} scores) is outside the levels' range "
                f"[{self.low:g}, {self.high:g}]; set levels.values so that they span the dataset's scores"
            )
        if method == "gaussian":
            given = None if deviations is None else np.atleast_1d(np.asarray(deviations, dtype=np.float64))
            return soft_labels.gaussian(self._array, scores, soft_labels.check_deviations(given, scores))
        if method == "onehot":
            return soft_labels.onehot(self._array, scores)
        if method == "sbde_constrained":
            distinct, inverse = np.unique(scores, return_inverse=True)
            distinct_labels, solvable = soft_labels.sbde_constrained(self._array, distinct)
            labels, solved = distinct_labels[inverse], solvable[inverse]
            if not solved.all():
                raise ArtQuantError(
                    f"score {scores[~solved][0]:g} ({int((~solved).sum())} of {scores.size} scores) has no Gaussian "
                    "whose density sums to 1 on the levels: they are too far apart there; use 'sbde', which normalises"
                )
            return labels
        sigma = (self.high - self.low) / 9 if sigma is None else sigma
        if not (np.isfinite(sigma) and sigma > 0):
            raise ArtQuantError(f"sigma {sigma} is not a positive number; leave it out or pass one such as 1.0")
        return soft_labels.sbde(self._array, scores, sigma)


def entropy(probabilities: ArrayLike) -> FloatArray:
    """Entropy of distributions over the levels, in nats.

    Args:
        probabilities: distributions of shape (..., K), each summing to 1 along the last axis.

    Returns:
        Entropies of shape (...), in [0, log K].
    """
    p = np.asarray(probabilities, dtype=np.float64)
    nats = -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)  # p log p is 0 for p = 0
    return nats + 0.0  # turns the -0.0 of a one-hot distribution into 0.0
