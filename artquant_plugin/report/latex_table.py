r"""A table as LaTeX, for the package `booktabs`, no wider than the text of a page.

The width of a table is estimated from the widths of the letters of Computer Modern, LaTeX's own type. A table that is
too wide is set in smaller type, then its words are broken into lines, and then its columns continue below, with the
words of each row repeated. Nothing is scaled (`\resizebox`), so that all tables of a paper have the same type.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from artquant_plugin.common.text import visible
from artquant_plugin.report.table_cells import (
    BEST,
    NONE,
    SECOND,
    Cell,
    Column,
    Count,
    Figure,
    Table,
    cell_text,
    with_columns,
)

# The class article has a text of 345 pt at 10 pt, of 360 pt at 11 pt and of 390 pt at 12 pt. A table grows with the
# type: one of 325 pt at 10 pt takes up to 382 pt at 12 pt.
PAGE_WIDTH = 325.0
SEPARATION = 4.0  # points on each side of a column
# Sizes of type, each with its letters' width in proportion to that of the normal size.
SIZES = (("", 1.0), (r"\small", 0.93), (r"\footnotesize", 0.85))
BOLD = 1.15  # the width of bold figures in proportion to that of others
NARROWEST = 40.0  # points that a column of words has at least
GROUP_WIDTH = 110.0  # points above which the heading of a group is broken into lines
UNBROKEN = 20  # characters of a name after which a line may end anywhere
OTHER = 1000  # the width of a character that is not in the table below

# Widths of Computer Modern's characters (cmr10, and cmsy10 for signs) in thousandths of the type's size.
_WIDTHS = {
    278: "!',.:;[]`il|",
    306: "fj",
    333: " -",
    361: "I",
    389: "()t",
    392: "r",
    394: "s",
    444: "cez",
    472: "?",
    500: '"$*/0123456789\\^_ago{}~–',
    514: "J",
    528: "kqvxy",
    556: "Sbdhnpu",
    611: "Z",
    625: "L",
    653: "F",
    681: "EP",
    708: "B",
    722: "CTw",
    736: "R",
    750: "AHNUVXY",
    764: "D",
    778: "&+<=>@KOQ±−",
    785: "G",
    833: "#%m",
    917: "M",
    1028: "W",
}
_WIDTH_OF = {sign: width for width, signs in _WIDTHS.items() for sign in signs}

# Characters that are commands in LaTeX, and characters that its text fonts lack.
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
}
_NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9_:.-]+")  # characters that a LaTeX label may not hold
_BREAKS = "/_-:@"  # characters of names behind which a line may end


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a table is set.

    Args:
        size: the command of the size of type; empty for the normal one.
        blocks: the columns other than labels, in as many parts as stand below each other.
        widths: the width of each column of words that is broken into lines, by the key of the column, in points.
    """

    size: str
    blocks: list[list[Column]]
    widths: dict[str, float]


def as_latex(table: Table) -> str:
    """The table as LaTeX: its caption, label, columns and notes.

    The columns are those that are `Column.narrow`. Best and second best figures are bold and underlined.
    """
    table = with_columns(table, [column for column in table.columns if column.narrow])
    layout = _layout(table)
    labels = [column for column in table.columns if column.label]
    lines = [
        r"\begin{table}  % \usepackage{booktabs}",
        r"\centering",
        rf"\caption{{{latex_text(table.caption or table.title)}}}",
        rf"\label{{tab:{_NOT_IN_LABELS.sub('-', table.name)}}}",
        *([layout.size] if layout.size else []),
        rf"\setlength{{\tabcolsep}}{{{SEPARATION:g}pt}}",
    ]
    for number, block in enumerate(layout.blocks):
        lines += [r"\par\medskip"] if number else []
        lines += _tabular(with_columns(table, [*labels, *block]), layout.widths)
    return "\n".join([*lines, *(rf"\par\footnotesize {latex_text(note)}" for note in table.all_notes), r"\end{table}"])


def latex_text(text: str) -> str:
    """A text with every character escaped that LaTeX would read as a command, as one line."""
    return "".join(_LATEX.get(sign, sign) for sign in visible(" ".join(text.split())))


def text_width(text: str) -> float:
    """The width of a text in Computer Modern of 10 pt, in points.

    Args:
        text: one line; a character that Computer Modern lacks counts as a square of the type's height.

    Example:
        >>> round(text_width("0.867"), 2)
        22.78
    """
    return sum(_WIDTH_OF.get(sign, OTHER) for sign in visible(" ".join(text.split()))) / 100


def _layout(table: Table) -> _Layout:
    labels = [column for column in table.columns if column.label]
    others = [column for column in table.columns if not column.label]
    natural = {column.key: _natural_width(table, place) for place, column in enumerate(table.columns)}
    units = _units(others)

    def figures_width(columns: Sequence[Sequence[Column]], scale: float) -> float:
        """The width of columns other than labels, with the space between them and before the first one."""
        return sum(_unit_width(unit, natural, scale) + 2 * SEPARATION for unit in columns)

    words = sum(natural[column.key] for column in labels)
    between = 2 * SEPARATION * max(len(labels) - 1, 0)
    for size, scale in SIZES:
        if scale * words + between + figures_width(units, scale) <= PAGE_WIDTH:
            return _Layout(size, [others], {})
    size, scale = SIZES[-1]
    least = {column.key: min(scale * natural[column.key], NARROWEST) for column in labels}
    room = PAGE_WIDTH - between - sum(least.values())
    blocks: list[list[list[Column]]] = [[]]
    for unit in units:
        if blocks[-1] and figures_width([*blocks[-1], unit], scale) > room:
            blocks.append([])
        blocks[-1].append(unit)
    # What figures leave over is shared among the words that need more than the least, in proportion to what they need.
    over = room - max(figures_width(block, scale) for block in blocks)
    need = {key: scale * natural[key] - width for key, width in least.items() if scale * natural[key] > width}
    widths: dict[str, float] = {}
    if sum(need.values()) > over:
        widths = {key: math.floor(least[key] + over * own / sum(need.values())) for key, own in need.items()}
    return _Layout(size, [[column for unit in block for column in unit] for block in blocks], widths)


def _units(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns that stay together: those of a group, and each of the others by itself."""
    units: list[list[Column]] = []
    for column in columns:
        if column.group and units and units[-1][0].group == column.group:
            units[-1].append(column)
        else:
            units.append([column])
    return units


def _unit_width(unit: Sequence[Column], natural: dict[str, float], scale: float) -> float:
    own = sum(scale * natural[column.key] for column in unit) + 2 * SEPARATION * (len(unit) - 1)
    return max(own, min(scale * text_width(unit[0].group), GROUP_WIDTH)) if unit[0].group else own


def _natural_width(table: Table, place: int) -> float:
    column = table.columns[place]
    widths = [text_width(column.short or column.title)]
    for row in table.rows:
        cell = row[place]
        bold = isinstance(cell, Figure) and cell.rank == BEST
        widths.append(text_width(_plain(cell, column)) * (BOLD if bold else 1))
    return max(widths)


def _tabular(table: Table, widths: dict[str, float]) -> list[str]:
    shapes = [
        f"p{{{widths[column.key]:g}pt}}" if column.key in widths else "l" if column.words else "r"
        for column in table.columns
    ]
    grouped = any(column.group for column in table.columns)
    return [
        rf"\begin{{tabular}}{{@{{}}{''.join(shapes)}@{{}}}}",
        r"\toprule",
        *(_group_lines(table.columns) if grouped else []),
        _row([latex_text(column.short or column.title) for column in table.columns]),
        r"\midrule",
        *(
            _row(
                [_cell(cell, column, widths.get(column.key)) for cell, column in zip(row, table.columns, strict=True)]
            )
            for row in table.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _group_lines(columns: Sequence[Column]) -> list[str]:
    cells, rules, place = [], [], 1
    for unit in _units(columns):
        name, last = unit[0].group, place + len(unit) - 1
        text = latex_text(name)
        if text_width(name) > GROUP_WIDTH:
            text = rf"\parbox{{{GROUP_WIDTH:g}pt}}{{\centering {_breakable(name)}}}"
        cells.append(rf"\multicolumn{{{len(unit)}}}{{c}}{{{text}}}" if name else "")
        rules += [rf"\cmidrule(lr){{{place}-{last}}}"] if name else []
        place = last + 1
    return [_row(cells), "".join(rules)]


def _row(cells: Sequence[str]) -> str:
    text = " & ".join(cells)
    # At the start of a row, `[` and `*` would be read as an argument of the line break or rule before the row.
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"


def _cell(cell: Cell, column: Column, room: float | None) -> str:
    """A cell. Words that are wider than their column may be broken into lines."""
    text = _plain(cell, column)
    if isinstance(cell, Figure):
        text = latex_text(text)
        return {BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}"}.get(cell.rank, text)
    if room is None or text_width(text) * SIZES[-1][1] <= room:
        return latex_text(text)
    return rf"{{\raggedright {_breakable(text)}\par}}"


def _plain(cell: Cell, column: Column) -> str:
    """The text of a cell: a count without its reasons, a dash for nothing, a figure with a minus for its hyphen."""
    text = f"{cell.total:,}" if isinstance(cell, Count) else cell_text(cell, column)
    if isinstance(cell, Figure):
        text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return "–" if text == NONE else text


def _breakable(text: str) -> str:
    """An escaped name that may be broken into lines behind `_BREAKS`, and within a very long part."""
    parts = re.split(rf"(?<=[{re.escape(_BREAKS)}])", text)
    pieces = [part[start : start + UNBROKEN] for part in parts for start in range(0, len(part), UNBROKEN)]
    return r"\allowbreak{}".join(map(latex_text, pieces))
