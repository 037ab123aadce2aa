"""What is trained on: the samples of paintings, and how datasets are mixed."""

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import fsspec
import numpy as np
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning, MachineError
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import did_you_mean, one_line
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.image_memory import is_full
from artquant_plugin.data.images import ImageError, ImageSource, open_image
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS, WHOLE_TEXT, join_description
from artquant_plugin.scoring.prepare import picture_pixels
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.sections import AttributesSection, DataSection, LevelsSection, SampleKind

KINDS: tuple[SampleKind, ...] = get_args(SampleKind)
OF_RATINGS = "rating_sd"  # value of `levels.deviation` for the standard deviation of each painting's ratings
COMMENT = "comment"  # value of `RunSections.descriptions` for a rater's words


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
        attribute: Name of the attribute that a score sample asks about; None for the whole painting.
    """

    kind: SampleKind
    painting_id: str
    image: Path | TableImage
    label: np.ndarray | None = None
    description: str | None = None
    attribute: str | None = None


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


def attribute_samples(
    names: Sequence[str],
    images: Sequence[Path | TableImage],
    given: Sequence[Mapping[str, float | None] | None],
    levels: LevelsSection,
    attributes: AttributesSection,
) -> list[Sample]:
    """A score sample for each painting and each attribute that it has a score of.

    Args:
        names: What messages call each of the n paintings.
        images: The image of each painting, in the order of the names.
        given: The scores of each painting's attributes by their names; None, or no number, where it has none.
        levels: The levels, and how a score becomes a soft label.
        attributes: The attributes, with the values of the levels in their unit.

    Raises:
        ArtQuantError: A score is outside the range of the levels' values.
    """
    samples = []
    for spec in attributes.specs(levels):
        found = [
            (number, float(value))
            for number, scores in enumerate(given)
            if (value := (scores or {}).get(spec.name)) is not None and not math.isnan(value)
        ]
        scores = [score for _, score in found]
        deviations = None if levels.deviation is None else [float(levels.deviation)] * len(scores)
        try:
            labels = spec.scale(levels.names).soft_labels(
                scores, levels.method, sigma=levels.sigma, deviations=deviations
            )
        except ArtQuantError as error:
            raise ArtQuantError(f"attribute {spec.name!r}: {error}; attributes.values are its own") from error
        samples += [
            Sample("score", names[number], images[number], label=label, attribute=spec.name)
            for (number, _), label in zip(found, labels, strict=True)
        ]
    return samples


def folder_attribute_samples(
    dataset: Dataset, paintings: Sequence[Painting], levels: LevelsSection, attributes: AttributesSection
) -> list[Sample]:
    """The samples of `attribute_samples` for the paintings of a dataset folder.

    Args:
        dataset: The dataset that the paintings are of.
        paintings: Paintings of the dataset, with and without scores of attributes.
        levels: The levels, and how a score becomes a soft label.
        attributes: The attributes, with the values of the levels in their unit.

    Raises:
        ArtQuantError: A score is outside the range of the levels' values.
    """
    return attribute_samples(
        [painting.id for painting in paintings],
        [dataset.image_path(painting) for painting in paintings],
        [painting.attributes for painting in paintings],
        levels,
        attributes,
    )


def check_attributes(names: Sequence[str], samples: Sequence[Sample], known: Collection[str], where: str) -> None:
    """See that each attribute that is to be trained has samples.

    Args:
        names: Names of the attributes that the configuration asks for.
        samples: Samples of all datasets that ask about attributes.
        known: Names of the attributes that the paintings have.
        where: What messages call the paintings' source.

    Raises:
        ArtQuantError: An attribute has no sample.
    """
    for name in names:
        if not any(sample.attribute == name for sample in samples):
            there = f"it has {', '.join(sorted(known))}" if known else "it has no scores of attributes"
            raise ArtQuantError(
                f"no painting of {where} has a score of attribute {name!r}; "
                + (did_you_mean(name, known) or f"{there}: name others under attributes, or leave the key out")
            )


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


@dataclass(frozen=True, slots=True)
class ClosedPicture:
    """A picture that can be read, and was closed again because memory holds enough others.

    Args:
        image: Where it is, as `Sample.image` has it.
    """

    image: ImageSource | TableImage

    def open(self) -> Image.Image:
        """Open the picture.

        Raises:
            ArtQuantError: It cannot be read any more.
            MachineError: This machine does not let it be read.
        """
        return open_image(image_source(self.image))


class SampleDataset(TorchDataset[dict[str, Any]]):
    """Samples whose images are opened when a batch asks for them; within a batch, each image is opened once.

    Where the pictures of a batch have more pixels than memory holds at one time, the rest of them are opened to see
    that they can be read, and closed again: each is then a `ClosedPicture`, which the collator opens anew.

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
        opened: dict[Any, dict[str, Any]] = {}
        held = 0
        for image in dict.fromkeys(sample.image for sample in samples):
            found = opened_or_error(image)
            if is_full(held) and "image" in found:
                found = {"image": ClosedPicture(image)}
            held += picture_pixels(found.get("image"))
            opened[image] = found
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
        attributes: The samples of each dataset that ask about attributes; they go with its score samples.
        attributes_weight: How often these are seen in an epoch, above 0, times the weight of their dataset.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[float, ...]
    samples: dict[SampleKind, tuple[list[Sample], ...]]
    validation: tuple[list[ScoredPainting], ...]
    attributes: tuple[list[Sample], ...] = ()
    attributes_weight: float = 1.0

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
        if "score" in kinds and self.attributes:
            groups += [
                (samples, weight * self.attributes_weight)
                for samples, weight in zip(self.attributes, self.weights, strict=True)
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
    weights = tuple(section.weight for section in config.data)
    asked = config.attributes
    if not asked.names:
        return TrainingData(datasets, weights, made, validation)
    attributes = tuple(
        folder_attribute_samples(dataset, rows, config.levels, asked)
        for dataset, rows in zip(datasets, training, strict=True)
    )
    known = {name for rows in training for painting in rows for name in painting.attributes or ()}
    where = " and ".join(repr(dataset.info.name) for dataset in datasets)
    check_attributes(asked.names, [sample for samples in attributes for sample in samples], known, where)
    return TrainingData(datasets, weights, made, validation, attributes, asked.weight)


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


def describe_data(sections: Sequence[DataSection], data: TrainingData) -> list[str]:
    """What each dataset holds, in a line each."""
    lines = []
    for number, (section, dataset) in enumerate(zip(sections, data.datasets, strict=True)):
        counts = ", ".join(f"{len(samples[number]):,} {kind}" for kind, samples in data.samples.items())
        if data.attributes:
            counts += f", {len(data.attributes[number]):,} attribute"
        weight = "" if section.weight == 1 else f", weight {section.weight:g}"
        validation = len(data.validation[number])
        lines.append(f"{dataset.info.name}: {counts} samples, {validation:,} paintings for validation{weight}")
    return lines
