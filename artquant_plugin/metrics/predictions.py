"""Predictions of any tool, joined with human scores by image name; what does not join is listed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.tables import TableRow, parse_number, read_table
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.find import find_dataset


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
class JoinedPredictions:
    """Predictions that have a truth, and everything that does not fit.

    Args:
        images: names of the n pairs, sorted.
        predictions: n finite numbers, in the order of `images`.
        truths: n human scores, in the order of `images`.
        n_truth: images that have a human score.
        missing: images with a human score and no row in the predictions.
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
    unparsable: list[str]
    duplicates: list[str]
    unknown: list[str]
    left_out: dict[str, int]


def read_truth(truth: str, *, image_column: str = "image", score_column: str = "score") -> Truth:
    """Read human scores from a table or a dataset.

    Args:
        truth: a table, or a dataset's name or folder with an optional ``:split``; without one the test split is read.
        image_column: the column of a table that holds the images' names.
        score_column: the column of a table that holds the human scores.

    Raises:
        ArtQuantError: neither is there; a score is no number; an image stands twice.
    """
    path = expanded(truth)
    if path.is_file():
        scores: dict[str, float] = {}
        for row, image in _cells(path, image_column, score_column):
            if image in scores:
                raise ArtQuantError(f"{row.place}: image {image!r} stands twice; remove one of its rows")
            scores[image] = row.number(score_column, -math.inf, math.inf, "mend the truth")
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
) -> JoinedPredictions:
    """Join predictions with human scores by image name.

    Args:
        path: a table with a header line (CSV, or with semicolons or tabs), JSON (``.json``, ``.jsonl``) or Parquet.
        truth: the human scores, by the image's name.
        image_column: the column that holds the images' names.
        prediction_column: the column that holds the predictions. A cell that is no finite number is listed, not used.
        shorten: makes the name by which an image is looked up in `truth` from the file's own, for a truth that knows
            images by something shorter.

    Raises:
        ArtQuantError: no such file or column, or not one pair.
    """
    rows: dict[str, list[TableRow]] = {}
    for row, image in _cells(path, image_column, prediction_column):
        rows.setdefault(shorten(image), []).append(row)
    duplicates = sorted(image for image, found in rows.items() if len(found) > 1)
    single = {image: found[0] for image, found in rows.items() if len(found) == 1 and image in truth.scores}
    values = {image: parse_number(row.values[prediction_column]) for image, row in single.items()}
    pairs = sorted((image, value) for image, value in values.items() if value is not None)
    if not pairs:
        raise ArtQuantError(
            f"no image of '{path}' has both a prediction and a human score ({len(rows)} predicted, "
            f"{len(truth.scores)} scored); check --image-column, --prediction-column and --truth"
        )
    return JoinedPredictions(
        images=[image for image, _ in pairs],
        predictions=[value for _, value in pairs],
        truths=[truth.scores[image] for image, _ in pairs],
        n_truth=len(truth.scores),
        missing=sorted(set(truth.scores) - set(rows)),
        unparsable=sorted(
            f"{image} ({single[image].text(prediction_column)!r})" for image, value in values.items() if value is None
        ),
        duplicates=duplicates,
        unknown=sorted(set(rows) - set(truth.scores)),
        left_out=truth.left_out,
    )


def _cells(path: Path, image_column: str, value_column: str) -> Iterator[tuple[TableRow, str]]:
    """Every row of a table with its image's name; the row holds the two columns."""
    for row in read_table(str(path), (image_column, value_column), remedy="pass the right column option"):
        yield row, row.text(image_column)
