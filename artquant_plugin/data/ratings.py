"""The single ratings behind a dataset's scores: ratings.jsonl, which lies beside the rows of a dataset.

A line of the file holds the ratings of one painting, in one of two forms. Where it is known who gave which rating,
``{"id": "a.jpg", "raters": [0, 3], "ratings": [7.0, 6.5]}``: the raters are numbered from 0, the same number is the
same person in the whole file, and their names are not copied. Where only votes were counted,
``{"id": "a.jpg", "counts": [0, 2, 5]}`` together with the rating of each count in ``{"values": [1.0, 2.0, 3.0]}``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_json_values

RATINGS_FILE = "ratings.jsonl"


@dataclass(frozen=True, slots=True)
class PaintingRatings:
    """The ratings of one painting, at least one.

    Args:
        ratings: the ratings that were given, in the unit of the dataset's scores; of counted votes, the possible ones.
        raters: the number of the person who gave each rating, from 0; None for counted votes.
        counts: how many people gave each of the ratings; None where `raters` tells who gave which one.
    """

    ratings: tuple[float, ...]
    raters: tuple[int, ...] | None = None
    counts: tuple[int, ...] | None = None

    @property
    def number(self) -> int:
        """How many ratings there are."""
        return len(self.ratings) if self.counts is None else sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean of the ratings."""
        return float(np.average(self.ratings, weights=self.counts))

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the ratings, divided by their number less one; None for a single rating."""
        if self.number < 2:
            return None
        squares = np.square(np.array(self.ratings) - self.mean)
        total = float(squares.sum() if self.counts is None else squares @ np.array(self.counts))
        return (total / (self.number - 1)) ** 0.5

    def row(self, id: str) -> dict[str, Any]:
        """The line of ratings.jsonl that holds the ratings.

        Args:
            id: the id of the painting that was rated.
        """
        if self.counts is not None:
            return {"id": id, "counts": list(self.counts), "values": list(self.ratings)}
        return {"id": id, "raters": list(self.raters or ()), "ratings": list(self.ratings)}


def read_ratings(path: Path) -> dict[str, PaintingRatings]:
    """Read the ratings of a dataset.

    Args:
        path: the file ratings.jsonl, as `Dataset.file` gives it.

    Returns:
        The ratings of each painting, by its id.

    Raises:
        ArtQuantError: the file is absent or a line of it is not of the form; file and line are named.
    """
    return dict(_rows(path))


def _rows(path: Path) -> Iterator[tuple[str, PaintingRatings]]:
    for place, row in read_json_values(str(path)):
        try:
            if "counts" in row:
                ratings = PaintingRatings(tuple(map(float, row["values"])), None, tuple(map(int, row["counts"])))
                whole = len(row["counts"]) == len(row["values"]) and min(row["counts"]) >= 0
            else:
                ratings = PaintingRatings(tuple(map(float, row["ratings"])), tuple(map(int, row["raters"])))
                whole = len(row["raters"]) == len(row["ratings"])
            if not whole or not ratings.number:
                raise ValueError("no ratings, or another number of them than of raters or counts")
            yield str(row["id"]), ratings
        except (KeyError, TypeError, ValueError) as error:
            raise ArtQuantError(f"{place}: no ratings of a painting ({error}); import the dataset again") from error


def number_raters(names: Sequence[str]) -> Mapping[str, int]:
    """Give each rater a number, so that no name has to be kept.

    Args:
        names: the raters' names as a table gives them, in the order of its rows; each may stand there many times.

    Returns:
        The number of each name, from 0, in the order in which the names appear.
    """
    return {name: number for number, name in enumerate(dict.fromkeys(names))}
