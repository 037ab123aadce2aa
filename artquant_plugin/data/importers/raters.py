"""Tables that hold what single raters gave, in the three forms in which such data is published.

One row per rater and painting, with a column that names the rater; one row per painting with a column for each rater;
or one row per painting with a column for each possible rating, which says how many people gave it (AVA's form).
"""

from collections.abc import Sequence

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import TableRow
from artquant_plugin.data.importers.annotations import read_rows
from artquant_plugin.data.paintings import Painting, plain_name
from artquant_plugin.data.ratings import PaintingRatings, number_raters

NUMBER = "write a number"
# NumPy draws halves of fewer votes than that; no dataset has as many of one painting.
MOST_VOTES = 10**9 - 1
OUTSIDE = "mend the table or pass another --score-range"


def rated_painting(id: str, image: str, ratings: PaintingRatings, *, category: str | None = None) -> Painting:
    """A painting whose score is the mean of its ratings.

    Args:
        id: the painting's id, which is unique in its dataset.
        image: the image's name in the annotations, relative to the image folder.
        ratings: what single people gave the painting.
        category: as the dataset's authors write it; None where they give none.
    """
    return Painting(
        id=id,
        image=image,
        sha256="",
        score=ratings.mean,
        category=category,
        rating_sd=ratings.deviation,
        raters=ratings.number,
    )


def rated_in_rows(
    rows: Sequence[TableRow],
    *,
    image: str,
    rater: str,
    score: str,
    score_range: tuple[float, float],
    alike: Sequence[str] = (),
) -> list[tuple[TableRow, PaintingRatings]]:
    """Put the rows of each painting together, where a table has one row per rater and painting.

    Args:
        rows: the rows of the table.
        image: the column with the images' names; a painting is one name, in any spelling of its path.
        rater: the column that says who gave the rating, as a name or a number.
        score: the column with the ratings.
        score_range: the lowest and the highest possible rating.
        alike: further columns that belong to the painting, so that all of its rows must hold the same text.

    Returns:
        The first row of each painting, in the order of the table, and the painting's ratings.

    Raises:
        ArtQuantError: an empty name of a rater, a rating that is no number or outside of the range, a rater who rated
            a painting twice, or a painting whose rows differ in one of the columns `alike`.
    """

    def read(row: TableRow) -> tuple[str, float]:
        name = row.text(rater)
        if not name:
            raise ArtQuantError(f"{row.place}: {rater} is empty; write who gave the rating, or remove the row")
        return name, row.number(score, *score_range, NUMBER, range_remedy=OUTSIDE)

    given = read_rows(rows, read)
    numbers = number_raters([name for name, _ in given])
    found: dict[str, list[tuple[TableRow, int, float]]] = {}
    for row, (name, value) in zip(rows, given, strict=True):
        found.setdefault(plain_name(row.text(image)), []).append((row, numbers[name], value))
    paintings = []
    for entries in found.values():
        first = entries[0][0]
        before: dict[int, TableRow] = {}
        for row, number, _ in entries:
            if before.setdefault(number, row) is not row:
                raise ArtQuantError(
                    f"{row.place}: rater {row.text(rater)!r} rated {row.text(image)!r} already at "
                    f"{before[number].place}; remove one of the two rows"
                )
            for column in alike:
                if row.text(column) != first.text(column):
                    raise ArtQuantError(
                        f"{row.place}: {column} of {row.text(image)!r} is {row.text(column)!r}, at {first.place} it "
                        f"is {first.text(column)!r}; write the same text into all rows of a painting"
                    )
        paintings.append(
            (first, PaintingRatings(tuple(value for *_, value in entries), tuple(n for _, n, _ in entries)))
        )
    return paintings


def rated_in_columns(row: TableRow, columns: Sequence[str], score_range: tuple[float, float]) -> PaintingRatings:
    """The ratings of a row that has a column for each rater.

    Args:
        row: the row of one painting.
        columns: the raters' columns; the cell of a rater who did not rate the painting is empty.
        score_range: the lowest and the highest possible rating.

    Raises:
        ArtQuantError: a cell holds no number, or one outside of the range; or all cells are empty.
    """
    given = {
        number: row.number(column, *score_range, NUMBER, range_remedy=OUTSIDE)
        for number, column in enumerate(columns)
        if row.text(column)
    }
    if not given:
        raise ArtQuantError(f"{row.place}: no rating in any of {', '.join(columns)}; write one, or remove the row")
    return PaintingRatings(tuple(given.values()), tuple(given))


def rated_in_counts(row: TableRow, columns: Sequence[str], score_range: tuple[float, float]) -> PaintingRatings:
    """The ratings of a row that says how many people gave each possible rating.

    Args:
        row: the row of one painting.
        columns: at least two; the first one counts the lowest possible rating, the last one the highest, and the
            others those evenly between: ten columns on a scale from 1 to 10 count 1, 2, … 10.
        score_range: the lowest and the highest possible rating.

    Raises:
        ArtQuantError: a cell holds no whole number from 0, all of them are 0, or together they are more than
            `MOST_VOTES`.
    """
    counts = []
    for column in columns:
        count = row.number(column, 0, np.inf, "write how many people gave this rating")
        if count != int(count):
            raise ArtQuantError(
                f"{row.place}: {column} {row.text(column)} is no whole number; --count-columns hold how many people "
                "gave each rating"
            )
        counts.append(int(count))
    if not sum(counts):
        raise ArtQuantError(f"{row.place}: nobody rated it, all of its counts are 0; remove the row")
    if sum(counts) > MOST_VOTES:
        votes = f"{sum(counts):,}" if sum(counts) < 10 * MOST_VOTES else f"{sum(counts):.3g}"
        raise ArtQuantError(
            f"{row.place}: the counts are {votes} votes together, more than {MOST_VOTES:,}; mend the table, "
            "or name columns that count people"
        )
    return PaintingRatings(tuple(np.linspace(*score_range, len(columns)).tolist()), None, tuple(counts))
