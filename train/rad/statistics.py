"""A score's place among the scores of its dataset."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Painting

Scope = Literal["train", "split", "dataset"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The distribution that scores are told against.

    Args:
        scores: ascending.
        mean: of the scores, as the others.
        median: likewise.
        variance: as of a population.
    """

    scores: tuple[float, ...]
    mean: float
    median: float
    variance: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Statistics":
        """Statistics of scores, one or more."""
        values = np.array(scores, dtype=np.float64)
        return cls(
            tuple(sorted(map(float, scores))), float(values.mean()), float(np.median(values)), float(values.var())
        )

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return self.variance**0.5

    def percentile(self, score: float) -> float:
        """Share of the scores that are lower, those that are equal counted half; 0 to 100.

        Example:
            >>> Statistics.of([1, 2, 2, 3]).percentile(2)
            50.0
        """
        return 50.0 * (bisect_left(self.scores, score) + bisect_right(self.scores, score)) / len(self.scores)


def statistics_by_split(splits: Mapping[str, Sequence[Painting]], scope: Scope) -> dict[str, Statistics]:
    """The statistics that each split's paintings are told.

    Args:
        splits: paintings by split.
        scope: see `artquant_plugin.train.rad.config.RadConfig`.

    Raises:
        ArtQuantError: no painting at all.
    """
    everything = [painting.score for paintings in splits.values() for painting in paintings]
    if not everything:
        raise ArtQuantError("the dataset has no paintings; import it again, or name another with --data")
    if scope == "split":
        return {split: Statistics.of([p.score for p in paintings]) for split, paintings in splits.items() if paintings}
    training = [painting.score for painting in splits.get("train", ())]
    told = Statistics.of(training if scope == "train" and training else everything)
    return dict.fromkeys(splits, told)
