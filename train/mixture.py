"""Datasets, mixed: what a stage sees in an epoch, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch.utils.data import Sampler

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.train.config import DataSection, LevelsSection, TrainConfig
from artquant_plugin.train.order import PaintingOrder
from artquant_plugin.train.samples import Kind, Sample, SampleDataset, description_samples, score_samples

KINDS: tuple[Kind, ...] = get_args(Kind)
WINDOW = 32  # batches over which answers are sorted by length


@dataclass(frozen=True, slots=True)
class Material:
    """What a run trains and validates on.

    Args:
        datasets: opened, in the configuration's order.
        weights: one per dataset.
        samples: for each kind, those of each dataset.
        validation: paintings of the validation splits, with the dataset that they are of.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[float, ...]
    samples: dict[Kind, tuple[list[Sample], ...]]
    validation: list[tuple[Dataset, Painting]]

    def mixed(self, kinds: Sequence[Kind], seed: int) -> "MixedSamples":
        """What a stage sees."""
        groups = [
            (samples, weight)
            for kind in kinds
            for samples, weight in zip(self.samples[kind], self.weights, strict=True)
        ]
        return MixedSamples(groups, seed)


def load_material(config: TrainConfig) -> Material:
    """Open the datasets and make their samples.

    Raises:
        ArtQuantError: a dataset is not there or has no training split, a score is outside the levels' range, a
            description is asked for and not there.
    """
    datasets = tuple(Dataset.load(find_dataset(section.name)) for section in config.data)
    training = [dataset.split("train") for dataset in datasets]
    kinds = dict.fromkeys(kind for stage in config.stages for kind in stage.samples)
    made: dict[Kind, tuple[list[Sample], ...]] = {}
    for kind in kinds:
        make = _scored(config.levels) if kind == "score" else description_samples
        made[kind] = tuple(make(dataset, paintings) for dataset, paintings in zip(datasets, training, strict=True))
    validation = [
        (dataset, painting)
        for dataset in datasets
        if "validation" in dataset.info.splits
        for painting in dataset.split("validation")
    ]
    return Material(datasets, tuple(section.weight for section in config.data), made, validation)


def _scored(levels: LevelsSection) -> Callable[[Dataset, Sequence[Painting]], list[Sample]]:
    def make(dataset: Dataset, paintings: Sequence[Painting]) -> list[Sample]:
        deviations = _deviations(levels.deviation, paintings)
        return score_samples(
            dataset, paintings, levels.scale(), levels.sigma, method=levels.method, deviations=deviations
        )

    return make


def _deviations(given: float | str | None, paintings: Sequence[Painting]) -> list[float] | None:
    """The raters' standard deviation of each painting."""
    if given is None:
        return None
    if isinstance(given, float | int):
        return [float(given)] * len(paintings)
    found = []
    for painting in paintings:
        value = (painting.attributes or {}).get(given)
        if value is None:
            raise ArtQuantError(
                f"painting {painting.id!r} has no attribute {given!r}; set levels.deviation to a number or to an "
                "attribute that all paintings have"
            )
        found.append(value)
    return found


class MixedSamples(SampleDataset):
    """Samples of several groups, each seen as often as its weight says.

    A group of n samples and weight w gives round(w · n) in every epoch: all of them as often as w is whole, and a part
    that is drawn anew in each epoch. The number of samples, and the group that an index is of, never change.

    Args:
        groups: samples and weight.
        seed: of the draws.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample("score", str(number), Path()) for number in range(4)]
        >>> mixed = MixedSamples([(samples, 1.5)], seed=0)
        >>> [sample.painting_id for sample in mixed.samples]
        ['0', '1', '2', '3', '2', '3']
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Sample], float]], seed: int) -> None:
        self._groups = groups
        self._seed = seed
        super().__init__([])
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the samples of an epoch."""
        self.samples = [
            sample
            for number, (samples, weight) in enumerate(self._groups)
            for sample in _drawn(samples, weight, np.random.default_rng([self._seed, epoch, number]))
        ]


def _drawn(samples: Sequence[Sample], weight: float, rng: np.random.Generator) -> list[Sample]:
    times = int(weight)
    rest = round((weight - times) * len(samples))
    drawn = np.sort(rng.choice(len(samples), rest, replace=False))
    return [*samples] * times + [samples[index] for index in drawn]


class EpochSampler(Sampler[int]):
    """The order of a stage's samples; it depends on seed and epoch alone, so that a run that goes on finds it again.

    It is random, unless asked otherwise.

    Args:
        samples: of the stage, with the epoch's draw.
        seed: of the order.
        batch_size: of an optimisation step, when grouping by length.
        length: of a sample; given when the samples of a kind that a batch holds are to be of like length.
        share_images: whether a painting's two samples are to meet in a batch, see `PaintingOrder`.
    """

    def __init__(
        self,
        samples: MixedSamples,
        seed: int,
        *,
        batch_size: int = 1,
        length: Callable[[Sample], int] | None = None,
        share_images: bool = False,
    ) -> None:
        self._samples = samples
        self._seed = seed
        self._batch_size = batch_size
        self._length = length
        self._share_images = share_images
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[int]:
        if self._share_images:
            paired = PaintingOrder(self._samples.samples, self._seed)
            paired.set_epoch(self._epoch)
            return iter(paired)
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(len(self), generator=generator).tolist()
        return iter(order if self._length is None else self._grouped(order, self._length, generator))

    def _grouped(self, order: list[int], length: Callable[[Sample], int], generator: torch.Generator) -> list[int]:
        batches = []
        window = WINDOW * self._batch_size
        samples = self._samples.samples
        for start in range(0, len(order), window):
            drawn = order[start : start + window]
            longest = sorted(drawn, key=lambda index: length(samples[index]), reverse=True)
            of_kind = {kind: [index for index in longest if samples[index].kind == kind] for kind in KINDS}
            left = {kind: iter(indices) for kind, indices in of_kind.items()}
            # A place keeps its kind, or a step would hold scores or descriptions alone, and lack a term of the loss.
            part = [next(left[samples[index].kind]) for index in drawn]
            batches += [part[at : at + self._batch_size] for at in range(0, len(part), self._batch_size)]
        last = [batches.pop()] if len(batches[-1]) < self._batch_size else []  # a short one stays at the end
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return [index for batch in [*(batches[number] for number in shuffled), *last] for index in batch]


def describe_data(data: Sequence[DataSection], material: Material) -> list[str]:
    """One line per dataset."""
    lines = []
    for number, (section, dataset) in enumerate(zip(data, material.datasets, strict=True)):
        counts = ", ".join(f"{len(samples[number]):,} {kind}" for kind, samples in material.samples.items())
        weight = "" if section.weight == 1 else f", weight {section.weight:g}"
        validation = sum(owner is dataset for owner, _ in material.validation)
        lines.append(f"{dataset.info.name}: {counts} samples, {validation:,} paintings for validation{weight}")
    return lines
