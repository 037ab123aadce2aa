"""Tables of typed cells: numbers keep their full precision until a format writes them (`table_formats`)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean

NONE = "-"  # a cell without content, in the formats that people read
P_VALUE, SHARE = "p", "%"  # forms of a column beside those of Python's `format`
BEST, SECOND = 1, 2  # the ranks that formats mark


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name: the column's name in ``--columns``, and in CSV and JSON where it belongs to no group, such as ``srocc``.
        title: the heading in text and Markdown, such as ``SROCC [95 % interval]``.
        short: the heading in LaTeX, where width is scarce; empty to take the title.
        group: the heading above neighbouring columns, such as the name of a dataset; empty for none.
        words: whether the cells are words, which stand on the left; figures stand on the right.
        label: whether the cells say what a row is about. Such columns stay, whatever columns are chosen.
        form: how figures are written: a format of Python, `P_VALUE` or `SHARE`.
        bounds: what becomes of the ends of an interval. ``shown`` writes them everywhere, ``hidden`` into CSV and JSON
            alone, ``only`` writes them without a value, and an empty text writes none.
        reasons: whether the cells are counts by reason (`Count`).
        spread: whether the figures have a standard deviation, which CSV and JSON write as a number of its own.
        ranked: whether the best and the second best figure are marked, and CSV and JSON have their ranks.
        narrow: whether LaTeX has the column where the user chooses none.
        notes: lines of text below a table that shows the column.
    """

    name: str
    title: str
    short: str = ""
    group: str = ""
    words: bool = False
    label: bool = False
    form: str = ".3f"
    bounds: Literal["", "shown", "hidden", "only"] = ""
    reasons: bool = False
    spread: bool = False
    ranked: bool = False
    narrow: bool = True
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name of the column in CSV and JSON, with that of its group in front; unique in its table."""
        return f"{self.group}_{self.name}" if self.group else self.name


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a table.

    Args:
        value: the number in full precision; NaN where there is none.
        low: the lower end of its interval; NaN where there is none.
        high: the upper end; NaN where `low` is.
        mark: what text, Markdown and LaTeX write behind the number, such as ``(too few)``.
        rank: `BEST` or `SECOND` among the figures of its column, or 0.
        sd: its standard deviation, which text, Markdown and LaTeX write behind the number; NaN where there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    mark: str = ""
    rank: int = 0
    sd: float = math.nan


@dataclass(frozen=True, slots=True)
class Count:
    """A number of paintings, by reason.

    Args:
        reasons: the number of paintings for each reason; empty for none at all.
    """

    reasons: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number of paintings of all reasons."""
        return sum(self.reasons.values())

    def listed(self) -> str:
        """The reasons with their numbers, sorted by reason; empty where there is none."""
        return ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.reasons.items()))


Cell = str | int | Figure | Count | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of typed cells.

    Args:
        name: the name of files that hold the table, without an ending, such as ``leaderboard-baid``.
        title: one line about what the table shows, above it in text and Markdown; empty for none.
        columns: the columns. Those of a group are neighbours.
        rows: the rows, each with as many cells as there are columns. A cell is a text, a whole number, a `Figure`, a
            `Count`, or None for nothing.
        notes: lines of text below the table, whichever columns it shows; may be empty.
        caption: the caption in LaTeX where it is not the title.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[Cell, ...]]
    notes: tuple[str, ...] = ()
    caption: str = ""

    @property
    def all_notes(self) -> list[str]:
        """The table's own notes, then those of its columns, each once."""
        return [*self.notes, *dict.fromkeys(note for column in self.columns for note in column.notes)]


def cell_text(cell: Cell, column: Column) -> str:
    """A cell as people read it.

    Args:
        cell: the cell, of any type that a table may hold.
        column: its column, which says how figures are written.

    Example:
        >>> cell_text(Figure(0.8667, 0.838, 0.8898), Column("srocc", "SROCC", bounds="shown"))
        '0.867 [0.838, 0.890]'
        >>> cell_text(Count({"empty": 1, "refusal": 2}), Column("failed", "failed"))
        '3 (1 empty, 2 refusal)'
        >>> cell_text(Figure(0.8667, sd=0.0049), Column("srocc", "SROCC", spread=True))
        '0.867 ± 0.005'
    """
    if cell is None or cell == "":
        return NONE
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, Count):
        return f"{cell.total:,}" + (f" ({cell.listed()})" if cell.total else "")
    text = NONE if column.bounds == "only" else number_text(cell.value, column.form)
    if column.spread and not math.isnan(cell.sd):
        text = f"{text} ± {number_text(cell.sd, column.form)}"
    if column.bounds in ("shown", "only") and not math.isnan(cell.low):
        ends = f"[{number_text(cell.low, column.form)}, {number_text(cell.high, column.form)}]"
        text = ends if column.bounds == "only" else f"{text} {ends}"
    return f"{text} {cell.mark}" if cell.mark and text != NONE else text


def number_text(value: float, form: str = ".3f") -> str:
    """A number as people read it; a dash where it is NaN.

    Args:
        value: the number, in the unit of the column.
        form: a format of Python, `P_VALUE` or `SHARE`.

    Example:
        >>> number_text(0.0004, P_VALUE), number_text(0.762, SHARE), number_text(-0.5, "+.3f")
        ('<0.001', '76.2 %', '-0.500')
    """
    if math.isnan(value):
        return NONE
    if form == P_VALUE:
        return "<0.001" if value < 0.001 else f"{value:.3f}"
    return f"{100 * value:.1f} %" if form == SHARE else format(value, form)


def is_empty(cell: Cell) -> bool:
    """Whether a cell has nothing to show."""
    return cell is None or cell == "" or (isinstance(cell, Figure) and math.isnan(cell.value) and math.isnan(cell.low))


def with_columns(table: Table, kept: Sequence[Column]) -> Table:
    """The same table with some of its columns, without rows that have nothing in any of them but labels.

    Args:
        table: the table, which stays as it is.
        kept: columns of the table, in the order that they are to have.
    """
    places = [next(place for place, own in enumerate(table.columns) if own.key == column.key) for column in kept]
    figures = [place for place in places if not table.columns[place].label]
    before = [place for place, column in enumerate(table.columns) if not column.label]
    rows = [
        tuple(row[place] for place in places)
        for row in table.rows
        if not figures
        or any(not is_empty(row[place]) for place in figures)
        or all(is_empty(row[place]) for place in before)
    ]
    return replace(table, columns=tuple(kept), rows=rows)


def without_empty_columns(table: Table) -> Table:
    """The same table without the columns whose cells are all empty."""
    kept = [
        column for place, column in enumerate(table.columns) if any(not is_empty(row[place]) for row in table.rows)
    ]
    return with_columns(table, kept)


def choose_columns(tables: Sequence[Table], wanted: Sequence[str]) -> list[Table]:
    """The tables with the columns that a user chose, in the user's order, behind the labels of their rows.

    Args:
        tables: the tables that are to be printed.
        wanted: names of columns. ``srocc`` takes the column of every group, ``baid_srocc`` that of one.

    Returns:
        The tables that have one of the columns.

    Raises:
        ArtQuantError: no table has a column of such a name.
    """
    every = [column for table in tables for column in table.columns]
    known = list(dict.fromkeys(name for column in every for name in (column.name, column.key)))
    for name in wanted:
        if name not in known:
            hints = filter(None, (did_you_mean(name, known), f"--columns takes {', '.join(known)}"))
            raise ArtQuantError(f"there is no column {name!r}; {' '.join(hints)}")
    chosen = []
    for table in tables:
        named = [c for name in wanted for c in table.columns if name in (c.name, c.key)]
        if named:
            # Columns of a group stay neighbours, in the order of the groups.
            groups = list(dict.fromkeys(column.group for column in named))
            labels = [column for column in table.columns if column.label and column not in named]
            kept = [*labels, *(column for group in groups for column in named if column.group == group)]
            chosen.append(with_columns(table, [replace(column, narrow=True) for column in dict.fromkeys(kept)]))
    return chosen


def ranks(values: Sequence[float]) -> list[int]:
    """`BEST`, `SECOND` or 0 for each figure of a column, higher being better.

    Figures that are equal with three decimals, as they are printed, share a rank. A figure alone has none.

    Args:
        values: the figures; NaN for those that take no part.

    Example:
        >>> ranks([0.5, 0.7, 0.70001, math.nan, 0.1])
        [2, 1, 1, 0, 0]
        >>> ranks([0.5, math.nan])
        [0, 0]
    """
    rounded = [value if math.isnan(value) else round(value, 3) for value in values]
    known = [value for value in rounded if not math.isnan(value)]
    if len(known) < 2:
        return [0] * len(rounded)
    places = {value: rank for rank, value in zip((BEST, SECOND), sorted(set(known), reverse=True), strict=False)}
    return [places.get(value, 0) for value in rounded]
