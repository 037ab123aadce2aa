"""Any tool's predictions, as CSV or JSON, joined with human scores by image name; what does not join is listed."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import json_values
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.find import find_dataset


@dataclass(frozen=True, slots=True)
class Truth:
    """Human scores by image name.

    Args:
        scores: in the dataset's unit.
        left_out: images that the dataset's import could not use, by reason.
    """

    scores: dict[str, float]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Joined:
    """Predictions that have a truth, and everything that does not fit.

    Args:
        images: names of the n pairs, sorted.
        predictions: n numbers.
        truths: n numbers.
        n_truth: images that have a human score.
        missing: images with a human score and no row in the predictions.
        unparsable: image and text of predictions that are no finite number.
        duplicates: images with several rows; none of them is used.
        unknown: predicted images without a human score.
        left_out: see `Truth`.
    """

    images: list[str]
    predictions: list[float]
    truths: list[float]
    n_truth: int
    missing: list[str]
    unparsable: list[str]
    duplicates: list[str]
    unknown: list[str]
    left_out: dict[str, int]


def read_truth(truth: str, *, image_column: str = "image", score_column: str = "score") -> Truth:
    """Human scores from a CSV file or a dataset.

    Args:
        truth: a CSV file, or a dataset's name or folder with an optional ``:split`` (test).
        image_column: of the file.
        score_column: of the file.

    Raises:
        ArtQuantError: neither is there; a score is no number; an image stands twice.
    """
    path = Path(truth).expanduser()
    if path.is_file():
        scores: dict[str, float] = {}
        for line, image, text in _cells(path, image_column, score_column):
            value = _number(text)
            if value is None:
                raise ArtQuantError(f"{path}:{line}: {score_column} {text!r} is no number; mend the truth")
            if image in scores:
                raise ArtQuantError(f"{path}:{line}: image {image!r} stands twice; remove one of its rows")
            scores[image] = value
        return Truth(scores, {})
    name, colon, split = truth.rpartition(":")
    if not colon:
        name, split = truth, "test"
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise ArtQuantError(f"'{truth}' does not exist; name a CSV file, or a dataset with an optional :split")
    dataset = Dataset.load(find_dataset(name))
    scores = {painting.image: painting.score for painting in dataset.split(split)}
    return Truth(scores, dataset.info.splits[split].missing)


def join_predictions(
    path: Path,
    truth: Truth,
    *,
    image_column: str = "image",
    prediction_column: str = "prediction",
    shorten: Callable[[str], str] = str,
) -> Joined:
    """Join predictions with human scores by image name.

    Args:
        path: a CSV file (or one with tabs) that has a header line, or JSON objects (``.json``, ``.jsonl``).
        truth: human scores.
        image_column: of the file.
        prediction_column: of the file.
        shorten: applied to the file's image names first, for a truth that is named by something shorter.

    Raises:
        ArtQuantError: no such file or column, or not one pair.
    """
    rows: dict[str, list[str]] = {}
    for _, image, text in _cells(path, image_column, prediction_column):
        rows.setdefault(shorten(image), []).append(text)
    duplicates = sorted(image for image, texts in rows.items() if len(texts) > 1)
    single = {image: texts[0] for image, texts in rows.items() if len(texts) == 1 and image in truth.scores}
    values = {image: _number(text) for image, text in single.items()}
    pairs = sorted((image, value) for image, value in values.items() if value is not None)
    if not pairs:
        raise ArtQuantError(
            f"no image of '{path}' has both a prediction and a human score ({len(rows)} predicted, "
            f"{len(truth.scores)} scored); check --image-column, --prediction-column and --truth"
        )
    return Joined(
        images=[image for image, _ in pairs],
        predictions=[value for _, value in pairs],
        truths=[truth.scores[image] for image, _ in pairs],
        n_truth=len(truth.scores),
        missing=sorted(set(truth.scores) - set(rows)),
        unparsable=sorted(f"{image} ({single[image]!r})" for image, value in values.items() if value is None),
        duplicates=duplicates,
        unknown=sorted(set(rows) - set(truth.scores)),
        left_out=truth.left_out,
    )


def _cells(path: Path, image_column: str, value_column: str) -> Iterator[tuple[int, str, str]]:
    """Line number (of JSON: number of the object), image name and value of every row."""
    if not path.is_file():
        raise ArtQuantError(f"'{path}' does not exist; name a CSV file with a header line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtQuantError(f"'{path}' is not UTF-8 (byte {error.start}); convert it") from error
    rows = _objects(path, text) if path.suffix.lower() in (".json", ".jsonl") else _lines(path, text)
    for number, row in rows:
        for column in (image_column, value_column):
            if column not in row:
                names = ", ".join(row) or "nothing"
                raise ArtQuantError(f"'{path}' has no column {column!r}, only {names}; pass the right column option")
        image, value = row[image_column], row[value_column]
        if image is None or value is None:
            raise ArtQuantError(f"{path}:{number}: the line is cut short; mend it")
        yield number, str(image).strip(), str(value).strip()


def _lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a table with a header line; its cells are set apart by tabs where the header has one, else by commas."""
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="")
    try:
        if not list(reader.fieldnames or []):
            yield 1, {}
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ArtQuantError(f"'{path}' is no CSV file ({error}); mend it") from error


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects: one per line, one behind the other, as Q-Align writes them, or in a list."""
    number = 0
    try:
        for number, (_, row) in enumerate(json_values(text, strict=True), start=1):
            if not isinstance(row, dict):
                raise ArtQuantError(f"'{path}': entry {number} is no JSON object; give one per image")
            yield number, {name: "" if item is None else item for name, item in row.items()}
    except json.JSONDecodeError as error:
        raise ArtQuantError(f"'{path}' is no JSON behind object {number} ({error}); mend it") from error


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
