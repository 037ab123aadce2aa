"""The columns of a result, and rows in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from artquant_plugin.common.errors import ArtQuantError

Row = dict[str, Any]
FIXED = ("path", "score", "entropy", "reason")


@dataclass(frozen=True, slots=True)
class Form:
    """Columns: path, score, one per level, entropy, further numbers, reason.

    Args:
        levels: level words, best first; their columns hold probabilities that sum to 1.
        extras: names of further numbers that an engine gives.

    Example:
        >>> Form(("good", "bad")).failed("a.jpg", "it is broken")
        {'path': 'a.jpg', 'score': None, 'good': None, 'bad': None, 'entropy': None, 'reason': 'it is broken'}
    """

    levels: tuple[str, ...]
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken = set(self.levels) & {*FIXED, *self.extras}
        if taken:
            raise ArtQuantError(f"level word {sorted(taken)[0]!r} is a column's name; choose other level words")

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns of numbers, in their order."""
        return ("score", *self.levels, "entropy", *self.extras)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in their order."""
        return ("path", *self.numbers, "reason")

    def scored(
        self, name: str, score: float, levels: Mapping[str, float], entropy: float, extras: Mapping[str, float]
    ) -> Row:
        """The row of an image that has a score."""
        return {"path": _text(name), "score": score, **levels, "entropy": entropy, **extras, "reason": None}

    def failed(self, name: str, reason: str) -> Row:
        """The row of an image that has none."""
        return {"path": _text(name), **dict.fromkeys(self.numbers), "reason": _text(reason)}

    def nested(self, row: Row) -> dict[str, Any]:
        """A row with its levels in one object, as JSON lines hold it."""
        levels = None if row["score"] is None else {name: row[name] for name in self.levels}
        extras = {name: row[name] for name in self.extras}
        return {
            "path": row["path"],
            "score": row["score"],
            "levels": levels,
            "entropy": row["entropy"],
            **extras,
            "reason": row["reason"],
        }


def _text(text: str) -> str:
    """The same with ? for what UTF-8 cannot hold: file names may be any bytes."""
    return text.encode("utf-8", "replace").decode()
