"""Predictions of any tool, joined with human scores by image name; what does not join is listed."""

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.number_text import decimal_remedy
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.progress import progress
from artquant_plugin.common.table_header import PICTURE_NAME
from artquant_plugin.common.tables import UTF8, TableRow, read_table, table_columns
from artquant_plugin.common.text import one_line
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.paintings import plain_name

IMAGE, PREDICTION = "image", "prediction"  # the columns of a table of predictions
SCORE_COLUMNS = ("path", "score", "reason")  # the columns by which a table of `artquant score` is known
REASON = SCORE_COLUMNS[2]
SHOWN_AFTER = 2.0  # seconds of reading after which a progress bar appears on a terminal


@dataclass(frozen=True, slots=True)
class Truth:
    """Human scores by image name.

    Args:
        scores: the human score of each image, in the dataset's own unit.
        left_out: how many images the dataset's import could not use, by reason; empty for a truth file.
    """

    scores: dict[str, float]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a table of predictions or of human scores is to be read.

    Args:
        image: the column that names the image; None takes ``image``, or ``path`` where the table is one that
            `artquant score` wrote (with the columns ``path``, ``score`` and ``reason``, and none called ``image``).
        value: the column that holds the predicted or the human score; None takes ``prediction``, or ``score`` where
            `artquant score` wrote the table.
        delimiter: what sets the fields of a line apart; None for what the header line shows.
        encoding: the encoding of a text table; JSON is always UTF-8.
    """

    image: str | None = None
    value: str | None = None
    delimiter: str | None = None
    encoding: str = UTF8


@dataclass(frozen=True, slots=True)
class Predictions:
    """The rows of a table of predictions, before they are joined with human scores.

    Args:
        path: the table that was read, for messages.
        values: the predictions by the image's name, all finite.
        unparsable: the text in the place of a prediction that is no finite number, by the image's name.
        failed: the reason why a tool gave an image no score, by the image's name; of `artquant score` alone.
        duplicates: names that stand in several rows; none of these rows is in the other fields.
    """

    path: Path
    values: dict[str, float]
    unparsable: dict[str, str]
    failed: dict[str, str]
    duplicates: set[str]

    def __len__(self) -> int:
        """Number of images that have a row."""
        return len(self.values) + len(self.unparsable) + len(self.failed) + len(self.duplicates)


@dataclass(frozen=True, slots=True)
class JoinedPredictions:
    """Predictions that have a truth, and everything that does not fit.

    Args:
        images: names of the n pairs, sorted.
        predictions: n finite numbers, in the order of `images`.
        truths: n human scores, in the order of `images`.
        n_truth: images that have a human score.
        missing: images with a human score and no row in the predictions.
        failed: images to which the tool gave no score, each as the image's name and the reason.
        unparsable: predictions that are no finite number, each as the image's name and the text.
        duplicates: images with several rows; none of them is used.
        unknown: predicted images without a human score.
        left_out: how many images the dataset's import could not use, by reason.
    """

    images: list[str]
    predictions: list[float]
    truths: list[float]
    n_truth: int
    missing: list[str]
    failed: list[str]
    unparsable: list[str]
    duplicates: list[str]
    unknown: list[str]
    left_out: dict[str, int]


def read_truth(truth: str, form: TableForm | None = None) -> Truth:
    """Read human scores from a table or a dataset.

    Args:
        truth: a table, or a dataset's name or folder with an optional ``:split``; without one the test split is read.
        form: the columns of a table, by default ``image`` and ``score``, its delimiter and its encoding.

    Raises:
        ArtQuantError: neither is there; a score is no finite number; an image stands twice.
    """
    form = form or TableForm()
    image_column, score_column = form.image or "image", form.value or "score"
    path = expanded(truth)
    if path.exists() and not path.is_dir():
        scores: dict[str, float] = {}
        plain: dict[str, str] = {}
        for row in _rows(path, form, (image_column, score_column), "pass --truth-image-column or --score-column"):
            image = row.text(image_column)
            before = plain.setdefault(plain_name(image), row.place)
            if before != row.place:
                raise ArtQuantError(
                    f"{row.place}: image {one_line(image)!r} stands twice, first at {before}; remove one of its rows"
                )
            scores[image] = row.number(score_column, -math.inf, math.inf, "mend the truth")
        return Truth(scores, {})
    name, colon, split = truth.rpartition(":")
    if not colon:
        name, split = truth, "test"
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet"):
        raise ArtQuantError(f"'{truth}' does not exist; name a CSV file, or a dataset with an optional :split")
    dataset = Dataset.load(find_dataset(name))
    scores = {painting.image: painting.score for painting in dataset.each(split)}
    return Truth(scores, dataset.info.splits[split].missing)


def read_predictions(path: Path, form: TableForm | None = None) -> Predictions:
    """Read a table of predictions.

    Args:
        path: a table with a header line (CSV, or with semicolons or tabs), JSON (``.json``, ``.jsonl``), Parquet, or
            the folder of Parquet files that `artquant score` wrote.
        form: the columns, the delimiter and the encoding; None for the usual ones.

    Raises:
        ArtQuantError: no such file or column; a line that cannot be read.
    """
    form = form or TableForm()
    files = sorted(path.glob("shard-*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ArtQuantError(f"'{path}' is a folder without the shards of `artquant score`; name a table")
    found = Predictions(path, {}, {}, {}, set())
    for file in files:
        image_column, value_column = _columns(file, form)
        columns = tuple(dict.fromkeys((image_column, value_column)))
        rows = _rows(file, form, columns, "pass --image-column or --prediction-column", optional=(REASON,))
        for row in rows:
            image, value = row.text(image_column), row.parsed(value_column)
            if image in found.duplicates:
                continue
            held = next((held for held in (found.values, found.unparsable, found.failed) if image in held), None)
            if held is not None:
                del held[image]
                found.duplicates.add(image)
            elif value is not None:
                found.values[image] = value
            elif row.text(REASON) and not row.text(value_column):
                found.failed[image] = row.text(REASON)
            else:
                found.unparsable[image] = row.text(value_column)
    return found


def join_predictions(
    found: Predictions, truth: Truth, *, shorten: Callable[[str], str] | None = None
) -> JoinedPredictions:
    """Join predictions with human scores by image name.

    Args:
        found: the rows that `read_predictions` read.
        truth: the human scores, by the image's name.
        shorten: makes the name by which an image is looked up in `truth` from the table's own, for a truth that knows
            images by something shorter. Names that become the same are duplicates. None leaves names as they are.

    Raises:
        ArtQuantError: there is not one pair; the message says what the two sides have.
    """
    if shorten is not None:
        found = _renamed(found, shorten)
    scores = truth.scores
    images, predictions, truths = _pairs(found, scores)
    if not images:
        raise ArtQuantError(
            f"no image of '{found.path}' has both a prediction and a human score ({len(found):,} predicted, "
            f"{len(scores):,} scored); {_no_pair(found, scores)}"
        )
    others = [*found.unparsable, *found.failed, *found.duplicates]
    known = {image for image in others if image in scores}
    missing: list[str] = []
    if len(images) + len(known) < len(scores):  # looking for millions of names takes seconds
        missing = sorted(image for image in scores if image not in found.values and image not in known)
    unknown = [image for image in others if image not in known]
    if len(images) < len(found.values):
        unknown += [image for image in found.values if image not in scores]
    return JoinedPredictions(
        images=images,
        predictions=predictions,
        truths=truths,
        n_truth=len(scores),
        missing=missing,
        failed=sorted(f"{image} ({reason})" for image, reason in found.failed.items() if image in known),
        unparsable=sorted(
            f"{image} ({one_line(text)!r})" for image, text in found.unparsable.items() if image in known
        ),
        duplicates=sorted(found.duplicates),
        unknown=sorted(unknown),
        left_out=truth.left_out,
    )


def _pairs(found: Predictions, scores: Mapping[str, float]) -> tuple[list[str], list[float], list[float]]:
    """The names of the images that have both, sorted, their predictions and their human scores."""
    images: list[str] = []
    predictions: list[float] = []
    truths: list[float] = []
    for image, value in found.values.items():
        score = scores.get(image)
        if score is not None:
            images.append(image)
            predictions.append(value)
            truths.append(score)
    if not all(map(operator.lt, images, islice(images, 1, None))):
        order = sorted(range(len(images)), key=images.__getitem__)
        images = [images[place] for place in order]
        predictions, truths = [predictions[place] for place in order], [truths[place] for place in order]
    return images, predictions, truths


def join_by_any_name(found: Predictions, truth: Truth) -> JoinedPredictions:
    """Join predictions with human scores by the names as they stand, or in another spelling where more fit so.

    The other spellings, each tried where the ones before leave predictions without a human score: without ``./`` and
    repeated slashes; the file name alone, since `artquant score` names a painting by its path on this machine and a
    dataset by its path within the image folder; the file name without its ending where the other side has none.
    ``a.png`` is never taken for ``a.jpg``.

    Args:
        found: the rows that `read_predictions` read.
        truth: the human scores, by the image's name. A file name that two images share names neither of them.

    Raises:
        ArtQuantError: there is not one pair.
    """
    known = sum(image in truth.scores for image in found.values)
    best, shorten = truth.scores, None
    for truth_way, way in SPELLINGS:
        if known < len(found.values):
            scores = _by_unique_name(truth.scores, truth_way)
            fitting = sum(way(image) in scores for image in found.values)
            if fitting > known:
                known, best, shorten = fitting, scores, way
    if shorten is None:
        return join_predictions(found, truth)
    short = join_predictions(found, Truth(best, truth.left_out), shorten=shorten)
    return replace(short, n_truth=len(truth.scores))


def file_name(image: str) -> str:
    """The last part of a path, whether it is written with slashes or with backslashes."""
    return image.replace("\\", "/").rpartition("/")[2]


def _without_ending(image: str) -> str:
    """A file name without a picture's ending: ``oil/00.jpg`` becomes ``00``, and ``No. 5`` stays."""
    name = file_name(image)
    return name.rpartition(".")[0] if PICTURE_NAME.fullmatch(name) else name


# How names of the truth and of the predictions are shortened until they fit together, in the order of trying.
SPELLINGS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (plain_name, plain_name),
    (file_name, file_name),
    (_without_ending, file_name),
    (file_name, _without_ending),
)


def _by_unique_name(scores: Mapping[str, float], shorten: Callable[[str], str]) -> dict[str, float]:
    """Human scores by a shorter name; a name that two images share names neither of them."""
    found: dict[str, float] = {}
    shared: set[str] = set()
    for image, score in scores.items():
        name = shorten(image)
        if name in found:
            shared.add(name)
        found[name] = score
    return {name: score for name, score in found.items() if name not in shared}


def _renamed(found: Predictions, shorten: Callable[[str], str]) -> Predictions:
    parts = (found.values, found.unparsable, found.failed, found.duplicates)
    counts = Counter(shorten(image) for part in parts for image in part)
    twice = {name for name, count in counts.items() if count > 1} | {shorten(image) for image in found.duplicates}

    def kept(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for image, value in part.items() if (name := shorten(image)) not in twice}

    return Predictions(found.path, kept(found.values), kept(found.unparsable), kept(found.failed), twice)


def _no_pair(found: Predictions, scores: Mapping[str, float]) -> str:
    """The remedy for predictions of which none has a human score."""
    if not len(found):
        return "the table has no rows: see whether the tool that wrote it came to its end"
    if not scores:
        return "the truth has no rows: check --truth"
    others = {**found.unparsable, **found.failed}
    for image, text in others.items():
        if image in scores:
            if image in found.failed:
                return f"the tool gave none a score, such as {one_line(image)!r}: {one_line(text)}"
            remedy = decimal_remedy(text) or "check --prediction-column"
            return f"{one_line(image)!r} has {one_line(text)!r} instead of a number: {remedy}"
    if len(found.duplicates) == len(found):
        return "every image stands in several rows: check --image-column"
    image, known = next(iter({**found.values, **others})), next(iter(scores))
    return (
        f"one side names images like {one_line(image)!r}, the other like {one_line(known)!r}: check --image-column, "
        "--truth-image-column and --truth"
    )


def _columns(path: Path, form: TableForm) -> tuple[str, str]:
    """The columns of the image's name and of the prediction in a table of predictions."""
    image, value = form.image, form.value
    if image is None or value is None:
        names = table_columns(str(path), delimiter=form.delimiter, encoding=form.encoding, has_options=True)
        scored = IMAGE not in names and all(name in names for name in SCORE_COLUMNS)
        image = image or (SCORE_COLUMNS[0] if scored else IMAGE)
        value = value or (SCORE_COLUMNS[1] if scored and PREDICTION not in names else PREDICTION)
    return image, value


def _rows(
    path: Path, form: TableForm, columns: Sequence[str], remedy: str, *, optional: Sequence[str] = ()
) -> Iterator[TableRow]:
    """The rows of a table, with a bar on a terminal where reading takes its time."""
    rows = read_table(
        str(path),
        columns,
        optional=optional,
        delimiter=form.delimiter,
        encoding=form.encoding,
        remedy=remedy,
        has_options=True,
    )
    return progress(rows, f"read {path.name}", "row", None, delay=SHOWN_AFTER)
