"""RAD as the paper's authors publish it: label files of the training code, GitHub Henglin-Liu/ArtQuant at f6b1fca.

A file is one JSON array. A score record has ``id`` ("NAME->SCORE"), ``image``, ``gt_score``, ``level_probs`` (of
excellent, good, fair, poor, bad) and ``conversations``, a question (``from``: "human") and the answer ("gpt"). A
description record has ``task_type: "description"``, and its answer is the description. Files of test images hold
``id``, ``image`` and ``gt_score`` alone.

The human score is what counts: ``level_probs`` are compared with this package's soft labels, and never used.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_json_values
from artquant_plugin.data.dataset import Painting
from artquant_plugin.data.importers.importing import Annotations, check_range
from artquant_plugin.data.paintings import plain_name
from artquant_plugin.data.task_names import check_task_name
from artquant_plugin.prompting.descriptions import read_description
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.questions import WHOLE_TEXT

DESCRIPTION, SCORE = "description", "score"  # task_type; a record without one is a score
ASKED, ANSWERED = "human", "gpt"
IMAGE_TOKEN = "<|image|>"
HEADING_WORDS = 4  # "3. **Emotional level** -"
NOTICEABLE = 0.01  # score points by which an expectation may miss the score unmentioned


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """One record of a label file, checked.

    Args:
        place: where the record stands, as ``file:line``.
        image: path relative to the image folder.
        score: the human score; None in a description record.
        probabilities: ``level_probs``, shape (5,), best level first; None where the record has none. They are as the
            file gives them, and need not sum to 1.
        text: the description; None in a score record.
    """

    place: str
    image: str
    score: float | None = None
    probabilities: tuple[float, ...] | None = None
    text: str | None = None


def read_rad(
    files: Mapping[str, Sequence[Path]],
    *,
    name: str,
    score_range: tuple[float, float] = (0.0, 10.0),
    source: str = "RAD label files",
    license: str = "unknown",
) -> Annotations:
    """Read label files: scores and descriptions of one picture become one painting.

    Args:
        files: the label files of each split.
        name: of the dataset, which becomes a folder's name.
        score_range: the lowest and the highest possible score.
        source: where the files are from.
        license: the terms under which the data may be used.

    Raises:
        ArtQuantError: the name is no plain one, the range is empty, a picture has two scores, or a file or a record is
            faulty: all faulty ones are counted, the first is named by file and line.
    """
    check_task_name(name)
    check_range(score_range)
    found = {split: _SplitLabels() for split in files}
    problems: list[str] = []
    for split, paths in files.items():
        _read_files(paths, score_range, found[split].add, problems)
    _refuse(problems)
    splits = {split: part.paintings() for split, part in found.items()}
    if not any(splits.values()):
        raise ArtQuantError("the files hold no score record; name those with gt_score as well")
    return Annotations(name, score_range, splits, source, license, notes=tuple(_notes(list(found.values()))))


def add_descriptions(annotations: Annotations, files: Sequence[Path]) -> Annotations:
    """Give a dataset's paintings the descriptions of label files, which are found by the pictures' names.

    The dataset's own scores and splits stay; score records in the files are passed over. A name that the dataset does
    not have counts for the one painting whose file has the same name in another folder.

    Args:
        annotations: the dataset as read from its authors' files.
        files: label files with description records, such as those of the published RAD.

    Returns:
        The same annotations with descriptions, and with notes on how many there are.

    Raises:
        ArtQuantError: a file or a record is faulty, there is no description record, or none is of a painting of the
            dataset.
    """
    labels = _SplitLabels()
    problems: list[str] = []
    _read_files(files, (-math.inf, math.inf), labels.add_text, problems)
    _refuse(problems)
    if not labels.texts:
        shown = ", ".join(f"'{path}'" for path in files)
        raise ArtQuantError(f"{shown}: no description record (task_type 'description'); name the files that have them")
    images = [painting.image for paintings in annotations.splits.values() for painting in paintings]
    name_of = _names_in_files(images, labels.texts)
    if not name_of:
        raise ArtQuantError(
            f"none of the {len(labels.texts):,} descriptions is of a painting of {annotations.name!r}: they are of "
            f"pictures such as {next(iter(labels.texts))!r}, the dataset has pictures such as {images[0]!r}; name the "
            "description files of this dataset"
        )
    found = {image: _levels(labels.texts[name]) for image, name in name_of.items()}
    splits = {
        split: [replace(painting, description=found.get(painting.image)) for painting in paintings]
        for split, paintings in annotations.splits.items()
    }
    whole = sum(WHOLE_TEXT in (description or {}) for description in found.values())
    notes = [
        f"descriptions: {len(found):,} of {len(images):,} paintings have one, {len(found) - whole:,} with three "
        f"levels, {whole:,} as a whole text"
    ]
    used = set(name_of.values())
    unused = [name for name in labels.texts if name not in used]
    if unused:
        notes.append(f"{len(unused):,} descriptions of other pictures left out, {unused[0]!r} the first")
    if labels.further:
        notes.append(f"{labels.further:,} further descriptions of pictures that have one left out")
    return replace(annotations, splits=splits, notes=(*annotations.notes, *notes))


def _names_in_files(images: Sequence[str], named: Collection[str]) -> dict[str, str]:
    """The name under which label files have each of a dataset's images, of those that they have."""
    in_dataset = Counter(PurePosixPath(image).name for image in images)
    in_files: dict[str, list[str]] = {}
    for name in named:
        in_files.setdefault(PurePosixPath(name).name, []).append(name)
    found = {}
    for image in images:
        file = PurePosixPath(image).name
        if (name := plain_name(image)) in named:
            found[image] = name
        elif in_dataset[file] == 1 and len(in_files.get(file, ())) == 1:
            found[image] = in_files[file][0]
    return found


def _read_files(
    paths: Sequence[Path], score_range: tuple[float, float], add: Callable[[LabelRecord], None], problems: list[str]
) -> None:
    """Hand the records of label files over one after the other; a faulty one adds a line to the problems instead."""
    for path in paths:
        for place, content in read_json_values(str(path)):
            try:
                add(_record(place, content, score_range))
            except ValueError as error:
                problems.append(f"{place}: {error}")


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ArtQuantError(f"{problems[0]} ({len(problems):,} faulty records in all); mend or remove them")


@dataclass(slots=True)
class _SplitLabels:
    """What a split's files hold, by picture, in the order of the scores."""

    scores: dict[str, LabelRecord] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    further: int = 0  # descriptions of a picture beyond its first

    def add_text(self, record: LabelRecord) -> None:
        if record.text is not None:
            self.further += record.image in self.texts
            self.texts.setdefault(record.image, record.text)

    def add(self, record: LabelRecord) -> None:
        if record.text is not None:
            self.add_text(record)
            return
        before = self.scores.setdefault(record.image, record)
        if before.score != record.score:
            raise ValueError(f"image {record.image!r} has gt_score {before.score:g} already, at {before.place}")

    def paintings(self) -> list[Painting]:
        return [
            # The name with its ending is the id: a folder may hold a.jpg and a.png.
            Painting(image, image, "", float(record.score or 0), description=_levels(self.texts.get(image)))
            for image, record in self.scores.items()
        ]


def _levels(text: str | None) -> dict[str, str] | None:
    """The three levels, where their headings stand in the text and little else is outside of them; else the whole."""
    if text is None:
        return None
    found = read_description(text)
    outside = len(text.split()) - sum(len(level.split()) for level in found.levels.values())
    return found.levels if found.complete and outside <= HEADING_WORDS * len(found.levels) else {WHOLE_TEXT: text}


def _record(place: str, content: Any, score_range: tuple[float, float]) -> LabelRecord:
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__} instead of an object")
    image = content.get("image")
    if not isinstance(image, str) or not image:
        raise ValueError(f"image is {image!r}, not the name of a file")
    image = plain_name(image)
    kind = content.get("task_type", SCORE)
    if kind == DESCRIPTION:
        return LabelRecord(place, image, text=_answer(content))
    if kind != SCORE:
        raise ValueError(f"task_type {kind!r} is neither {DESCRIPTION!r} nor {SCORE!r}")
    low, high = score_range
    score = content.get("gt_score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
        raise ValueError(f"gt_score {score!r} of {image!r} is no number in [{low:g}, {high:g}]")
    return LabelRecord(place, image, score=float(score), probabilities=_probabilities(content))


def _answer(content: dict[str, Any]) -> str:
    turns = content.get("conversations")
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, dict) and turn.get("from") == ANSWERED:
            text = turn.get("value")
            if isinstance(text, str) and text.strip():
                return text.strip()
    raise ValueError(f"description of {content['image']!r} has no answer: conversations without text from 'gpt'")


def _probabilities(content: dict[str, Any]) -> tuple[float, ...] | None:
    values = content.get("level_probs")
    if values is None:
        return None
    size = len(LevelScale().names)
    if not isinstance(values, list) or len(values) != size or not all(isinstance(v, int | float) for v in values):
        raise ValueError(f"level_probs of {content['image']!r} are not {size} numbers")
    return tuple(map(float, values))


def _notes(parts: Sequence[_SplitLabels]) -> Iterator[str]:
    kinds = Counter(
        "whole text" if WHOLE_TEXT in (_levels(text) or {}) else "with three levels"
        for part in parts
        for image, text in part.texts.items()
        if image in part.scores
    )
    if kinds:
        yield "descriptions: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    scoreless = [image for part in parts for image in part.texts if image not in part.scores]
    if scoreless:
        yield f"{len(scoreless):,} descriptions of pictures without a score left out, {scoreless[0]!r} the first"
    further = sum(part.further for part in parts)
    if further:
        yield f"{further:,} further descriptions of pictures that have one left out"
    yield from _label_notes([record for part in parts for record in part.scores.values()])


def _label_notes(records: Sequence[LabelRecord]) -> Iterator[str]:
    """How far the files' soft labels are from the scores, and from this package's own."""
    scale = LevelScale()
    given = [record for record in records if record.probabilities is not None]
    if not given:
        return
    broken = [r for r in given if not math.isclose(sum(r.probabilities or ()), 1, abs_tol=1e-3)]
    if broken:
        yield f"level_probs: {len(broken):,} of {len(given):,} do not sum to 1, {broken[0].place} the first"
    whole = [r for r in given if math.isclose(sum(r.probabilities or ()), 1, abs_tol=1e-3)]
    inside = [record for record in whole if scale.low <= (record.score or 0) <= scale.high]
    if not inside:
        return
    scores = np.array([record.score for record in inside])
    theirs = np.array([record.probabilities for record in inside])
    missed = np.abs(scale.expectation(theirs) - scores)
    apart = np.abs(theirs - scale.soft_labels(scores)).max(axis=1)
    worst = inside[int(missed.argmax())]
    yield (
        f"level_probs: {len(inside):,} compared, which are not used; their expectation misses gt_score by "
        f"{missed.max():.2g} at most ({worst.place}), in {int((missed > NOTICEABLE).sum()):,} by more than "
        f"{NOTICEABLE:g}; a probability differs from this package's label by {apart.max():.2g} at most, "
        f"{np.median(apart):.2g} in the median"
    )
