"""What is trained on: the samples of paintings, how datasets are mixed, and the order of an epoch."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import fsspec
import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning, MachineError
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import one_line
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.images import ImageError, ImageSource, open_image
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS, WHOLE_TEXT, join_description
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.sections import DataSection, LevelsSection, SampleKind

KINDS: tuple[SampleKind, ...] = get_args(SampleKind)
OF_RATINGS = "rating_sd"  # value of `levels.deviation` for the standard deviation of each painting's ratings
COMMENT = "comment"  # value of `RunSections.descriptions` for a rater's words
WINDOW = 32  # batches over which answers are sorted by length


@dataclass(frozen=True, slots=True)
class TableImage:
    """An image in a row of a `datasets.Dataset`, read when it is needed.

    Args:
        table: A `datasets.Dataset` whose column `image` is an `Image` that is not decoded.
        row: Number of the row, from 0.
    """

    table: Any
    row: int

    @property
    def name(self) -> str:
        """What messages call the image."""
        return f"row {self.row}"

    def content(self) -> ImageSource:
        """The image's file, or its content."""
        return cell_content(self.table[self.row]["image"])


def cell_content(cell: Any) -> ImageSource:
    """The image in a cell of the column `image`.

    Args:
        cell: ``bytes`` and ``path`` as a column `Image(decode=False)` has them, of which one may be None; or, from a
            stream without declared columns, a picture, a path, or the content of a file. None for no image.

    Returns:
        What `open_image` takes. Without an image it is no bytes, which no decoder takes for an image.
    """
    if isinstance(cell, dict):
        cell = cell["path"] if cell["bytes"] is None else cell["bytes"]
    if isinstance(cell, str) and "://" in cell:
        with fsspec.open(cell, "rb") as file:
            return bytes(file.read())
    return b"" if cell is None else Path(cell) if isinstance(cell, str) else cell


def image_source(image: "ImageSource | TableImage") -> ImageSource:
    """What `open_image` and the scoring engine take for a sample's image."""
    return image.content() if isinstance(image, TableImage) else image


@dataclass(frozen=True, slots=True)
class ScoredPainting:
    """A painting that evaluation scores.

    Args:
        name: What messages call the painting: its file's name, or its id.
        image: Absolute path, the row that holds the image, the content of its file, or a picture.
        score: What people gave, in the unit of the dataset.
    """

    name: str
    image: ImageSource | TableImage
    score: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One question to a painting, and its answer.

    Args:
        kind: ``score`` where the painting's level is asked for, ``describe`` where its description is.
        painting_id: Id of the painting in its dataset, for messages.
        image: Absolute path, or the row that holds the image.
        label: Soft label over the K levels, float64, shape (K,), summing to 1; None in a description sample.
        description: The text that answers; None in a score sample.
    """

    kind: SampleKind
    painting_id: str
    image: Path | TableImage
    label: np.ndarray | None = None
    description: str | None = None


def score_samples(
    names: Sequence[str],
    images: Sequence[Path | TableImage],
    scores: Sequence[float],
    levels: LevelsSection,
    *,
    deviation_of: Callable[[int, str], Any],
    missing: Callable[[int], str],
) -> list[Sample]:
    """One score sample per painting.

    Args:
        names: What messages call each of the n paintings.
        images: The image of each painting, in the order of the names.
        scores: The score of each, in the unit of the levels' values.
        levels: The levels, and how a score becomes a soft label.
        deviation_of: Gives, for the number of a painting and the name that `levels.deviation` holds, the standard
            deviation of its raters' scores in the unit of the levels' values, or None where it is not known.
        missing: Gives, for the number of a painting, the error's text where that is not known.

    Raises:
        ArtQuantError: A score is outside the levels' range, or a painting has no deviation.
    """
    deviations: list[float] | None = None
    if levels.deviation is not None:
        given = levels.deviation
        values = [deviation_of(number, given) if isinstance(given, str) else given for number in range(len(scores))]
        if None in values:
            raise ArtQuantError(missing(values.index(None)))
        deviations = [float(value) for value in values]
    labels = levels.scale().soft_labels(scores, levels.method, sigma=levels.sigma, deviations=deviations)
    return [
        Sample("score", name, image, label=label) for name, image, label in zip(names, images, labels, strict=True)
    ]


def folder_score_samples(dataset: Dataset, paintings: Sequence[Painting], levels: LevelsSection) -> list[Sample]:
    """One score sample per painting of a dataset folder.

    Args:
        dataset: The dataset that the paintings are of.
        paintings: Paintings of the dataset, one sample for each.
        levels: The levels, and how a score becomes a soft label; `deviation` may name an attribute of the paintings,
            or ``rating_sd``, the standard deviation of each painting's ratings.

    Raises:
        ArtQuantError: A score is outside the levels' range, or a painting lacks the attribute or the ratings.
    """
    return score_samples(
        [painting.id for painting in paintings],
        [dataset.image_path(painting) for painting in paintings],
        [painting.score for painting in paintings],
        levels,
        deviation_of=lambda number, name: _deviation(paintings[number], name),
        missing=lambda number: _no_deviation(paintings[number], levels),
    )


def _deviation(painting: Painting, name: str) -> float | None:
    return painting.rating_sd if name == OF_RATINGS else (painting.attributes or {}).get(name)


def _no_deviation(painting: Painting, levels: LevelsSection) -> str:
    if levels.deviation != OF_RATINGS:
        return (
            f"painting {painting.id!r} has no attribute {levels.deviation!r}; set levels.deviation to a number or to "
            f"an attribute that all paintings have, or to {OF_RATINGS} where the dataset was imported with its raters"
        )
    if painting.raters is None:
        return (
            f"painting {painting.id!r} has a score but no ratings of single people, so no {OF_RATINGS}; import them "
            "with --rater-column, --score-columns or --count-columns, or set levels.deviation to a number"
        )
    return (
        f"painting {painting.id!r} has one rating alone, which has no standard deviation; set levels.deviation to a "
        "number, or leave paintings with one rating out"
    )


def description_samples(
    dataset: Dataset, paintings: Sequence[Painting], chosen: Sequence[str] | None = None
) -> list[Sample]:
    """One description sample per painting that has the text.

    Args:
        dataset: The dataset that the paintings are of.
        paintings: Paintings of the dataset, those without a description among them.
        chosen: The text that answers, as `RunSections.descriptions` says it: levels, ``comment``, or None for the
            whole description.

    Raises:
        ArtQuantError: None has the text.

    Warns:
        ArtQuantWarning: Levels are chosen, and descriptions without levels are left out.
    """
    texts = [_described_text(painting, chosen) for painting in paintings]
    samples = [
        Sample("describe", painting.id, dataset.image_path(painting), description=text)
        for painting, text in zip(paintings, texts, strict=True)
        if text
    ]
    if not samples:
        raise ArtQuantError(_no_descriptions(dataset, paintings, chosen))
    if chosen not in (None, COMMENT):
        whole = sum(WHOLE_TEXT in (painting.description or ()) for painting in paintings)
        if whole:
            warnings.warn(
                f"{whole:,} descriptions of {dataset.info.name!r} are whole texts without levels; they are left out, "
                f"since descriptions asks for {' and '.join(chosen or ())}",
                ArtQuantWarning,
                stacklevel=3,
            )
    return samples


def _described_text(painting: Painting, chosen: Sequence[str] | None) -> str | None:
    """The text that answers a painting's description sample; None where it has none."""
    if chosen == COMMENT:
        return painting.comment
    description = painting.description
    if not description or (chosen is not None and WHOLE_TEXT in description):
        return None
    return join_description(description, DESCRIPTION_LEVELS if chosen is None else chosen)


def _no_descriptions(dataset: Dataset, paintings: Sequence[Painting], chosen: Sequence[str] | None) -> str:
    """The error about a dataset without the text that a stage trains on, with what adds it."""
    place, name = f"dataset '{dataset.folder}'", dataset.info.name
    scores_alone = "train on scores alone with --set 'stages=[{name: sot, samples: [score], epochs: 1}]'"
    if chosen == COMMENT:
        return f"{place} has no comments, which descriptions: comment asks for; leave that key out, or {scores_alone}"
    if any(painting.description for painting in paintings):
        return (
            f"{place} has descriptions without levels alone, and descriptions asks for {' and '.join(chosen or ())}; "
            "leave that key out"
        )
    return (
        f"{place} has no descriptions; import it again with --descriptions and the files of the published RAD "
        f"(docs/reproduce.md), or have models write them (artquant rad generate --data {name}), or {scores_alone}"
    )


class SampleDataset(TorchDataset[dict[str, Any]]):
    """Samples whose images are opened when a batch asks for them; within a batch, each image is opened once.

    An item is ``{"sample": Sample, "image": PIL image}``, or ``{"sample": Sample, "error": message}`` where the image
    cannot be read, and ``"fault"`` with the same message where this machine is at fault, as `opened_or_error` has it:
    exceptions do not travel well between processes, so that the collator reports the message.

    Args:
        samples: The samples, in the order that indices count them.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The items of a batch; torch's loader asks for them in one call."""
        samples = [self.samples[index] for index in indices]
        opened = {image: opened_or_error(image) for image in dict.fromkeys(sample.image for sample in samples)}
        return [{"sample": sample, **opened[sample.image]} for sample in samples]


def opened_or_error(image: ImageSource | TableImage) -> dict[str, Any]:
    """An opened image under the key ``image``, or under ``error`` why it cannot be read.

    Where this machine is at fault and not the image, the key is ``fault``: the run then ends, whatever it does with
    images that cannot be read.
    """
    try:
        return {"image": open_image(image_source(image))}
    except ImageError as error:
        return {"error": str(error)}
    except MachineError as error:
        return {"error": str(error), "fault": str(error)}
    except (OSError, MemoryError) as error:
        if not is_machine_fault(error):
            return {"error": f"the image cannot be read ({one_line(error)}); mend its path"}
        fault = str(machine_error(error, "an image cannot be read"))
        return {"error": fault, "fault": fault}


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run trains and validates on.

    Args:
        datasets: The opened datasets, in the configuration's order.
        weights: How often each dataset is seen in an epoch, above 0.
        samples: The samples of each dataset, by their kind.
        validation: The paintings of each dataset's validation split; empty for a dataset without one.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[float, ...]
    samples: dict[SampleKind, tuple[list[Sample], ...]]
    validation: tuple[list[ScoredPainting], ...]

    def mixed(self, kinds: Sequence[SampleKind], seed: int) -> "MixedSamples":
        """What a stage sees.

        Args:
            kinds: Kinds of samples that the stage trains on.
            seed: Seed of the draws of datasets whose weight is not whole.
        """
        groups = [
            (samples, weight)
            for kind in kinds
            for samples, weight in zip(self.samples[kind], self.weights, strict=True)
        ]
        return MixedSamples(groups, seed)


def load_training_data(config: TrainConfig) -> TrainingData:
    """Open the datasets and make their samples.

    Args:
        config: Configuration of the run, which names the datasets, the levels and the kinds of samples.

    Raises:
        ArtQuantError: a dataset is not there or has no training split, a score is outside the levels' range, a
            description is asked for and not there.
    """
    datasets = tuple(Dataset.load(find_dataset(section.name)) for section in config.data)
    training = [dataset.split("train") for dataset in datasets]
    kinds = dict.fromkeys(kind for stage in config.stages for kind in stage.samples)
    made: dict[SampleKind, tuple[list[Sample], ...]] = {}
    for kind in kinds:
        pairs = zip(datasets, training, strict=True)
        if kind == "score":
            made[kind] = tuple(folder_score_samples(dataset, rows, config.levels) for dataset, rows in pairs)
        else:
            made[kind] = tuple(description_samples(dataset, rows, config.descriptions) for dataset, rows in pairs)
    validation = tuple(_validation(dataset) for dataset in datasets)
    return TrainingData(datasets, tuple(section.weight for section in config.data), made, validation)


def _validation(dataset: Dataset) -> list[ScoredPainting]:
    """The paintings of a dataset's validation split; none where it has no such split."""
    if "validation" not in dataset.info.splits:
        return []
    paintings = dataset.split("validation")
    images = [dataset.image_path(painting) for painting in paintings]
    return [
        ScoredPainting(image.name, image, painting.score) for image, painting in zip(images, paintings, strict=True)
    ]


class MixedSamples(SampleDataset):
    """Samples of several groups, each seen as often as its weight says.

    A group of n samples and weight w gives round(w · n) in every epoch: all of them as often as w is whole, and a part
    that is drawn anew in each epoch. The number of samples, and the group that an index is of, never change.

    Args:
        groups: Samples and the weight of each group, above 0.
        seed: Seed of the draws that pick the samples which a weight's fractional part adds.

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
        """Draw the samples of an epoch, which is counted from 0."""
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


class PaintingOrder(Sampler[int]):
    """A random order that brings the two samples of a painting into one batch of an even size.

    Paintings that have one sample only stand two by two among the pairs, so that no pair is cut by a batch's border.
    The order of an epoch follows from the seed and the epoch's number alone.

    Args:
        samples: The samples of all paintings.
        seed: Seed from which, with the epoch's number, the order follows.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(kind, name, Path(name)) for kind in ("score", "describe") for name in "abc"]
        >>> order = list(PaintingOrder(samples, seed=0))
        >>> [samples[index].painting_id for index in order]
        ['c', 'c', 'a', 'a', 'b', 'b']
    """

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        of_image: dict[object, list[int]] = {}
        for index, sample in enumerate(samples):
            of_image.setdefault(sample.image, []).append(index)
        self.pairs: list[tuple[int, ...]] = []
        self.singles: list[int] = []
        for indices in of_image.values():
            if len(indices) == 2 and samples[indices[0]].kind != samples[indices[1]].kind:
                self.pairs.append(tuple(indices))
            else:
                self.singles.extend(indices)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return 2 * len(self.pairs) + len(self.singles)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        singles = [self.singles[place] for place in torch.randperm(len(self.singles), generator=generator).tolist()]
        odd = [singles.pop()] if len(singles) % 2 else []
        units = [*self.pairs, *zip(singles[::2], singles[1::2], strict=True)]
        for place in torch.randperm(len(units), generator=generator).tolist():
            yield from units[place]
        yield from odd


class EpochSampler(Sampler[int]):
    """The order of a stage's samples; it depends on seed and epoch alone, so that a run that goes on finds it again.

    It is random, unless asked otherwise.

    Args:
        samples: What is trained on, as drawn for the epoch.
        seed: Seed from which, with the epoch's number, the order follows.
        batch_size: Samples of an optimisation step over all processes; it matters when grouping by length alone.
        length: Length of a sample's answer in tokens; given when the samples of one kind within a batch are to be of
            like length.
        share_images: Whether a painting's two samples meet in a batch, in the order of `PaintingOrder`.
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


def describe_data(sections: Sequence[DataSection], data: TrainingData) -> list[str]:
    """What each dataset holds, in a line each."""
    lines = []
    for number, (section, dataset) in enumerate(zip(sections, data.datasets, strict=True)):
        counts = ", ".join(f"{len(samples[number]):,} {kind}" for kind, samples in data.samples.items())
        weight = "" if section.weight == 1 else f", weight {section.weight:g}"
        validation = len(data.validation[number])
        lines.append(f"{dataset.info.name}: {counts} samples, {validation:,} paintings for validation{weight}")
    return lines
