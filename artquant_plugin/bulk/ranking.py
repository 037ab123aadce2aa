"""The rows of a result from the best one on, and the pictures that belong to them."""

import heapq
from collections.abc import Iterator, Set
from pathlib import Path

from artquant_plugin.bulk.inputs import Inputs, referenced
from artquant_plugin.bulk.rows import ScoreRow, utf8
from artquant_plugin.common.errors import ArtQuantError

KEPT_FAILURES = 1000  # rows without a score that a ranking of the best rows keeps


def rank_key(row: ScoreRow) -> tuple[bool, float, str]:
    """The sort key by which the best row comes first, rows of the same score by path, and rows without one last.

    Example:
        >>> rows = [{"path": "b", "score": 5.0}, {"path": "c", "score": None}, {"path": "a", "score": 5.0}]
        >>> [row["path"] for row in sorted(rows, key=rank_key)]
        ['a', 'b', 'c']
    """
    return row["score"] is None, -(row["score"] or 0.0), row["path"]


class Ranking:
    """Takes the rows of a run as they come, and keeps the best ones.

    Args:
        limit: how many rows with a score are kept, at least 1; None for all rows.

    Attributes:
        scored: how many rows with a score came.
        failed: how many rows came without one.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.scored = self.failed = 0
        self._rows: list[ScoreRow] = []
        self._failures: list[ScoreRow] = []

    def add(self, row: ScoreRow) -> None:
        """Take a row, with its score or with the reason why it has none."""
        if row["score"] is None:
            self.failed += 1
            if self.limit is None or len(self._failures) < KEPT_FAILURES:
                self._failures.append(row)
            return
        self.scored += 1
        self._rows.append(row)
        if self.limit is not None and len(self._rows) >= 2 * self.limit + 1000:  # now and then, as sorting costs more
            self._rows = heapq.nsmallest(self.limit, self._rows, key=rank_key)

    def best(self, count: int | None = None) -> list[ScoreRow]:
        """The rows with a score, best first, rows of the same score by path.

        Args:
            count: how many at most; None for all that are kept.
        """
        limits = [limit for limit in (self.limit, count) if limit is not None]
        return sorted(self._rows, key=rank_key)[: min(limits, default=None)]

    def failures(self) -> list[ScoreRow]:
        """The rows without a score, by path; where the ranking has a limit, `KEPT_FAILURES` of them."""
        return sorted(self._failures, key=rank_key)


def pictures_named(names: Set[str], inputs: Inputs) -> Iterator[tuple[str, Path | bytes | ArtQuantError]]:
    """The pictures of some rows, found again in the inputs.

    Args:
        names: the paths of the rows.
        inputs: the inputs of the run. Of files in other places, such as the Hub, only those of these names are
            fetched again.

    Yields:
        Name and content of each image of these names: its file, its bytes, or the reason why there is none. An image
        that the inputs hold twice comes twice.
    """
    plain = {name.strip(): name for name in names}  # a CSV file does not keep the white space around a name
    for found in inputs.references():
        if isinstance(found[2], str) and utf8(found[2]).strip() not in plain:
            continue  # the reference is the name
        image = referenced(found)
        name = plain.get(utf8(image.name).strip())
        if name is not None:
            yield name, image.content
