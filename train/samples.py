"""Paintings -> training samples: one kind asks for a score, the other for a description."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.images import open_image
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.questions import join_description

Kind = Literal["score", "describe"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to a painting, and its answer.

    Args:
        kind: which question.
        painting_id: of the dataset's row, for messages.
        image: absolute path.
        label: soft label over the K levels, float64; None in a description sample.
        description: the three levels joined; None in a score sample.
    """

    kind: Kind
    painting_id: str
    image: Path
    label: np.ndarray | None = None
    description: str | None = None


def score_samples(
    dataset: Dataset,
    paintings: Sequence[Painting],
    scale: LevelScale,
    sigma: float | None,
    *,
    method: str = "sbde",
    deviations: Sequence[float] | None = None,
) -> list[Sample]:
    """One score sample per painting; the labels are `LevelScale.soft_labels`'s.

    Raises:
        ArtQuantError: a score is outside the levels' range.
    """
    scores = [painting.score for painting in paintings]
    labels = scale.soft_labels(scores, method, sigma=sigma, deviations=deviations)
    return [
        Sample("score", painting.id, dataset.image_path(painting), label=label)
        for painting, label in zip(paintings, labels, strict=True)
    ]


def description_samples(dataset: Dataset, paintings: Sequence[Painting]) -> list[Sample]:
    """One description sample per painting that has a description.

    Raises:
        ArtQuantError: none has one.
    """
    samples = [
        Sample(
            "describe",
            painting.id,
            dataset.image_path(painting),
            description=join_description(painting.description),
        )
        for painting in paintings
        if painting.description
    ]
    if not samples:
        raise ArtQuantError(
            f"dataset {dataset.folder} has no descriptions; train with stages of `samples: [score]`, or add "
            "descriptions to its manifest"
        )
    return samples


class SampleDataset(TorchDataset[dict[str, Any]]):
    """Samples with their pictures opened when they are asked for; of one batch, each picture once."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The samples of a batch; torch's loader asks for them in one call."""
        samples = [self.samples[index] for index in indices]
        images = {path: open_image(path) for path in dict.fromkeys(sample.image for sample in samples)}
        return [{"sample": sample, "image": images[sample.image]} for sample in samples]
