"""Any dataset that is one table of image names and scores, or of what single raters gave."""

import re
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import UTF8, TableRow
from artquant_plugin.data.dataset import SPLITS, Painting
from artquant_plugin.data.importers.annotations import check_once, read_annotations, read_rows, tell_together
from artquant_plugin.data.importers.importing import Annotations, check_range, seeded_split
from artquant_plugin.data.importers.raters import (
    NUMBER,
    OUTSIDE,
    rated_in_columns,
    rated_in_counts,
    rated_in_rows,
)
from artquant_plugin.data.ratings import PaintingRatings
from artquant_plugin.data.task_names import check_task_name

SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLIT_WORDS |= {"validation": "validation", "dev": "validation", "test": "test", "testing": "test"}


@dataclass(frozen=True, slots=True)
class AnnotationColumns:
    """Which column of a table holds what.

    Args:
        image: paths relative to the image folder.
        score: the name of the column with the human scores; with `rater`, with the ratings of single people.
        split: the split's name, one of `SPLIT_WORDS` in any case; None has a split made.
        category: of the painting, as a text; None where the table has none.
        comment: a rater's words; None where the table has none. Of several rows of a painting, the first one's count.
        rater: who gave the rating, of a table with one row per rater and painting; None for one row per painting.
        scores: a column for each rater, in the place of `score`.
        counts: a column for each possible rating that says how many people gave it, in the place of `score`;
            `rated_in_counts` says in which order.
    """

    image: str
    score: str
    split: str | None = None
    category: str | None = None
    comment: str | None = None
    rater: str | None = None
    scores: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        """The columns that the table must have."""
        scores = self.scores or self.counts or (self.score,)
        named = (self.image, *scores, self.rater, self.split, self.category, self.comment)
        return [column for column in named if column is not None]


def read_csv(
    path: Path,
    columns: AnnotationColumns,
    *,
    name: str,
    score_range: tuple[float, float],
    encoding: str = UTF8,
    delimiter: str | None = None,
    header: bool = True,
    seed: int = 0,
    test_fraction: float = 0.2,
    source: str | None = None,
    license: str = "unknown",
) -> Annotations:
    """Read a table.

    Args:
        path: the table; `artquant_plugin.common.tables.read_table` says which formats it may have.
        columns: which columns are read; without a split column a seeded split is made.
        name: of the dataset, which becomes a folder's name.
        score_range: the lowest and the highest possible score.
        encoding: of a text table, as Python names it.
        delimiter: the character between the fields of a text table; None takes the one that its first line shows.
        header: whether the first line of a text table has the names of the columns. Where it has not, `columns` names
            them by their numbers, ``"1"``, ``"2"`` and so on.
        seed: of the permutation by which a split is made.
        test_fraction: the share of the rows that a made split tests with, in (0, 1).
        source: where the table is from; None takes its file name.
        license: the terms under which the data may be used.

    Raises:
        ArtQuantError: the range, the fraction or the file is faulty, or rows are, which are told together.
    """
    check_task_name(name)
    check_range(score_range)
    if columns.rater is not None and (columns.scores or columns.counts):
        other = "--score-columns" if columns.scores else "--count-columns"
        raise ArtQuantError(
            f"--rater-column is for a table with one row per rater and painting, {other} for one with a row per "
            "painting; pass one of the two"
        )
    if len(columns.counts) == 1:
        raise ArtQuantError(
            f"--count-columns has one column, {columns.counts[0]!r}; give one for each possible rating"
        )
    _check_distinct(columns)
    _check_order(columns.counts)
    if not 0 < test_fraction < 1:
        raise ArtQuantError(f"test fraction {test_fraction:g} is not between 0 and 1; pass one such as 0.2")
    rows = read_annotations(
        path,
        columns.needed,
        encoding=encoding,
        delimiter=delimiter,
        remedy="pass the right --image-column, --score-column …",
        has_options=True,
        header=header,
        header_option="--no-header --image-column {image} --score-column {score}",
    )
    given: dict[str, PaintingRatings] = {}
    if columns.rater is not None:
        grouped = rated_in_rows(
            rows,
            image=columns.image,
            rater=columns.rater,
            score=columns.score,
            score_range=score_range,
            alike=[column for column in (columns.split, columns.category) if column is not None],
        )
        rows, given = [row for row, _ in grouped], {row.place: ratings for row, ratings in grouped}
    _, rated, split_of_each = tell_together(
        lambda: check_once([rows], columns.image),
        lambda: read_rows(rows, lambda row: _painting(row, columns, score_range, given.get(row.place))),
        lambda: read_rows(rows, lambda row: _split(row, columns.split) if columns.split else None),
    )
    paintings = [painting for painting, _ in rated]
    ratings = {painting.id: found for painting, found in rated if found is not None} or None
    source = source or path.name
    if columns.split is not None:
        splits: dict[str, list[Painting]] = {}
        for split, painting in zip(split_of_each, paintings, strict=True):
            splits.setdefault(split, []).append(painting)
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        return Annotations(name, score_range, ordered, source, license, ratings=ratings)
    parts = seeded_split([p.image for p in paintings], {"train": 1 - test_fraction, "test": test_fraction}, seed)
    for split, indices in parts.items():
        if not indices:
            raise ArtQuantError(
                f"{len(rows)} rows leave no painting for the {split} split; "
                f"{'raise' if split == 'test' else 'lower'} --test-fraction, or name a --split-column"
            )
    return Annotations(
        name,
        score_range,
        {split: [paintings[index] for index in indices] for split, indices in parts.items()},
        source,
        license,
        split_method=f"random, {test_fraction:g} for test, by image name (numpy default_rng permutation)",
        split_seed=seed,
        ratings=ratings,
    )


def _check_distinct(columns: AnnotationColumns) -> None:
    """Refuse a column that is to hold two things: a rater who is read twice agrees with that copy."""
    scores = columns.scores or columns.counts or (columns.score,)
    option = "--score-columns" if columns.scores else "--count-columns" if columns.counts else "--score-column"
    places: dict[str, str] = {}
    named = [("--image-column", columns.image), ("--rater-column", columns.rater), ("--split-column", columns.split)]
    for place, column in [*named, *((option, column) for column in scores)]:
        if column is None:
            continue
        if column in places:
            where = f"in {place} twice" if places[column] == place else f"in {places[column]} and in {place}"
            raise ArtQuantError(f"the column {column!r} stands {where}; name another one in one of the two places")
        places[column] = place


def _check_order(counts: tuple[str, ...]) -> None:
    """Refuse columns whose names end in numbers that go up and down, as an alphabet or a slip of the hand has them."""
    ends = [re.search(r"\d+$", column) for column in counts]
    numbers = [int(end[0]) for end in ends if end]
    if len(numbers) == len(counts) and numbers not in (sorted(numbers), sorted(numbers, reverse=True)):
        raise ArtQuantError(
            f"--count-columns {' '.join(counts)} go up and down; name them from the lowest rating to the highest"
        )


def _painting(
    row: TableRow, columns: AnnotationColumns, score_range: tuple[float, float], ratings: PaintingRatings | None
) -> tuple[Painting, PaintingRatings | None]:
    """The painting of a row and its ratings; `ratings` are those that several rows of the painting hold."""
    if columns.scores:
        ratings = rated_in_columns(row, columns.scores, score_range)
    elif columns.counts:
        ratings = rated_in_counts(row, columns.counts, score_range)
    if ratings is not None:
        score = ratings.mean
    else:
        score = row.number(columns.score, *score_range, NUMBER, range_remedy=OUTSIDE)
    painting = Painting(
        id=_image(row, columns.image),  # with its ending: a folder may hold a.jpg and a.png
        image=_image(row, columns.image),
        sha256="",
        score=score,
        category=row.text(columns.category) or None if columns.category else None,
        comment=row.text(columns.comment) or None if columns.comment else None,
        rating_sd=None if ratings is None else ratings.deviation,
        raters=None if ratings is None else ratings.number,
    )
    return painting, ratings


def _image(row: TableRow, column: str) -> str:
    name = row.text(column)
    if not name:
        raise ArtQuantError(f"{row.place}: {column} is empty; write the image's name or remove the row")
    return name


def _split(row: TableRow, column: str) -> str:
    word = row.text(column).lower()
    if word not in SPLIT_WORDS:
        raise ArtQuantError(f"{row.place}: split {row.text(column)!r} is not one of {', '.join(SPLIT_WORDS)}; mend it")
    return SPLIT_WORDS[word]
