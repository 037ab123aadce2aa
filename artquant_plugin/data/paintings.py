"""The rows of a dataset, read from JSON lines (what imports write) or from Parquet (what RAD exports write)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_json_values, read_table
from artquant_plugin.prompting.questions import DESCRIPTION_LEVELS, WHOLE_TEXT

PARQUET_FOLDER = "data"  # where `datasets` and the Hub's viewer look for splits, too
NEEDED = ("id", "file_name", "sha256", "score", *DESCRIPTION_LEVELS, "description")  # columns of a Parquet file
OPTIONAL = ("category", "attributes", "comment")


@dataclass(frozen=True, slots=True)
class Painting:
    """One row of a dataset: a painting with its human score.

    Args:
        id: the painting's id, which is unique in its dataset.
        image: path relative to the image root, forward slashes.
        sha256: of the image file's bytes; empty when the file was missing at import and never read.
        score: mean human score, in the dataset's score range.
        category: as the dataset's authors write it; None where they give none.
        attributes: scores of single aspects; None where raters gave none.
        comment: a rater's words; None where there are none.
        description: texts for perception, cognition and emotion; or one ``text``, where levels cannot be told apart.
        rating_sd: standard deviation of the ratings whose mean the score is, in the unit of the score and divided by
            their number less one; None where there are fewer than two, or where the dataset has the mean alone.
        raters: how many people rated the painting; None where the dataset does not say.
    """

    id: str
    image: str
    sha256: str
    score: float
    category: str | None = None
    attributes: dict[str, float | None] | None = None
    comment: str | None = None
    description: dict[str, str] | None = None
    rating_sd: float | None = None
    raters: int | None = None


def plain_name(name: str) -> str:
    """An image's name in the one spelling by which paintings are told apart: without ``./`` and repeated slashes.

    Args:
        name: a path relative to the image folder, with forward slashes.

    Example:
        >>> plain_name("./oil//01.jpg")
        'oil/01.jpg'
    """
    return str(PurePosixPath(name)) if name else ""


def row_files(folder: Path, split: str) -> list[Path]:
    """The files that hold a split's rows, in order: its JSON lines, or else its Parquet shards.

    Args:
        folder: the folder that holds the dataset.
        split: the name of the split, such as ``test``.

    Returns:
        Their paths; none when no file is there.
    """
    lines = folder / f"{split}.jsonl"
    return [lines] if lines.is_file() else sorted((folder / PARQUET_FOLDER).glob(f"{split}-*.parquet"))


def read_paintings(path: Path, score_range: tuple[float, float]) -> Iterator[Painting]:
    """The rows of a file, checked, one after the other.

    Args:
        path: one of the files that `row_files` gives.
        score_range: the lowest and the highest possible score.

    Raises:
        ArtQuantError: a row that is not of the form; file and line are named.
    """
    found: Iterator[tuple[str, Any]]
    if path.suffix == ".parquet":
        rows = read_table(str(path), NEEDED, optional=OPTIONAL, remedy="export the run again")
        found, make = ((row.place, row.values) for row in rows), _from_columns
    else:
        found, make = read_json_values(str(path)), _from_json
    for place, content in found:
        try:
            painting = make(content)
            _check(painting, score_range)
        except (ValueError, TypeError) as error:
            raise ArtQuantError(f"{place}: {error}; mend the row or import the dataset again") from error
        yield painting


def _check(painting: Painting, score_range: tuple[float, float]) -> None:
    low, high = score_range
    if not isinstance(painting.score, int | float) or not low <= painting.score <= high:
        raise ValueError(f"score {painting.score!r} is outside [{low:g}, {high:g}]")
    if painting.description is not None:
        keys = set(painting.description)
        if keys not in (set(DESCRIPTION_LEVELS), {WHOLE_TEXT}):
            raise ValueError(f"description has {sorted(keys)}, not {DESCRIPTION_LEVELS}")


def _from_json(row: Any) -> Painting:
    if not isinstance(row, dict):
        raise TypeError(f"{type(row).__name__} instead of an object")
    unknown = set(row) - {item.name for item in fields(Painting)}
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    return Painting(**row)


def _from_columns(row: Mapping[str, Any]) -> Painting:
    for column in ("id", "file_name", "sha256"):
        if not isinstance(row[column], str):
            raise ValueError(f"{column} is {row[column]!r}, not a text")
    levels = {level: row[level] for level in DESCRIPTION_LEVELS}
    given = sum(text is not None for text in levels.values())
    if given not in (0, len(levels)):
        raise ValueError(f"only {given} of the levels {DESCRIPTION_LEVELS} are there")
    whole = None if row["description"] is None else {WHOLE_TEXT: row["description"]}
    return Painting(
        id=row["id"],
        image=row["file_name"],
        sha256=row["sha256"],
        score=row["score"],
        category=row.get("category"),
        attributes=row.get("attributes"),
        comment=row.get("comment"),
        description=levels if given else whole,
    )
