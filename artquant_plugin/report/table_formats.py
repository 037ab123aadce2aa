"""Writing a table as text, Markdown, CSV, LaTeX or JSON: the one place where tables become text."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from artquant_plugin.common.csv_text import harmless
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.text import visible
from artquant_plugin.report.latex_table import as_latex
from artquant_plugin.report.table_cells import BEST, SECOND, Cell, Column, Count, Figure, Table, cell_text


def as_text(table: Table) -> str:
    """The title, the columns aligned by spaces, and the notes, for a terminal.

    The headings of groups have a line of their own. The best figure of a column stands as ``*0.867*``, the second best
    as ``_0.853_``, as people write bold and underlined in plain text.
    """
    lines = [_marked(table, ("*", "*"), ("_", "_"), row) for row in table.rows]
    headings = [[column.title for column in table.columns]]
    if any(column.group for column in table.columns):
        groups = [column.group for column in table.columns]
        headings.insert(0, [name if groups.index(name) == place else "" for place, name in enumerate(groups)])
    title = [visible(table.title)] if table.title else []
    return "\n".join([*title, aligned([*headings, *lines]), *map(visible, table.all_notes)])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Align rows of cells by spaces, for a terminal: control characters are shown as escapes.

    Args:
        lines: at least one row; all have the same number of cells.
    """
    lines = [[visible(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_markdown(table: Table) -> str:
    """The title in bold, a Markdown table, and the notes.

    The best figure of a column is bold, the second best underlined (``<ins>``, which GitHub and the Hub show).
    """
    header = [": ".join(filter(None, (column.group, column.title))) for column in table.columns]
    drawn = [
        list(map(_markdown_text, header)),
        ["---"] * len(header),
        *(_marked(table, ("**", "**"), ("<ins>", "</ins>"), row, _markdown_text) for row in table.rows),
    ]
    title = [f"**{_markdown_text(table.title)}**", ""] if table.title else []
    notes = [f"\n{_markdown_text(note)}" for note in table.all_notes]
    return "\n".join([*title, *("| " + " | ".join(line) + " |" for line in drawn), *notes])


def _markdown_text(text: str) -> str:
    """A text as one line in which Markdown reads no border of a cell, no HTML tag, no link and no picture.

    Marks of emphasis are not escaped.
    """
    folded = visible(" ".join(text.split()))  # a line break would end the row of a table
    return folded.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def as_csv(table: Table) -> str:
    """The table as CSV (RFC 4180), without title and notes.

    Numbers have their full precision, an interval is two columns of its own, and a cell without content is empty. A
    word that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(harmless(visible(key)) for column in table.columns for key in _keys(column))
    for row in table.rows:
        writer.writerow(
            [
                _csv_field(value)
                for column, cell in zip(table.columns, row, strict=True)
                for value in _values(column, cell).values()
            ]
        )
    return buffer.getvalue().rstrip("\n")


def as_json(table: Table) -> str:
    """The table as a JSON object: ``name``, ``title``, ``rows`` and ``notes``."""
    return printable_json(json_object(table), indent=1)


def json_object(table: Table) -> dict[str, Any]:
    """The content of a table for JSON.

    Each row is an object by the keys of the columns. Numbers have their full precision; where there is none, the value
    is null. The ends of an interval are ``KEY_low`` and ``KEY_high``, a standard deviation is ``KEY_sd``, a rank is
    ``KEY_rank``, and the reasons of a count are ``KEY_reasons``.
    """
    rows = []
    for row in table.rows:
        values: dict[str, Any] = {}
        for column, cell in zip(table.columns, row, strict=True):
            values |= _values(column, cell)
        rows.append(values)
    return {"name": table.name, "title": table.title or table.caption, "rows": rows, "notes": table.all_notes}


def in_format(tables: Sequence[Table], form: str) -> str:
    """Several tables in one format, set apart by an empty line; in JSON, one list of them.

    Args:
        tables: the tables, in the order in which they are printed.
        form: the format, which is a key of `FORMATS`.
    """
    if form == "json":
        return printable_json([json_object(table) for table in tables], indent=1)
    return "\n\n".join(FORMATS[form](table) for table in tables)


def _marked(
    table: Table,
    best: tuple[str, str],
    second: tuple[str, str],
    row: Sequence[Cell],
    escaped: Callable[[str], str] = str,
) -> list[str]:
    """The cells of a row as text, with marks around the best and the second best figure of a column."""
    marks = {BEST: best, SECOND: second}
    cells = []
    for column, cell in zip(table.columns, row, strict=True):
        before, after = marks.get(cell.rank if isinstance(cell, Figure) else 0, ("", ""))
        cells.append(before + escaped(cell_text(cell, column)) + after)
    return cells


def _keys(column: Column) -> list[str]:
    """The names of a column's values in CSV and JSON."""
    return list(_values(column, None))


def _values(column: Column, cell: Cell) -> dict[str, Any]:
    """What a cell is in CSV and JSON: one value or several, by their names."""
    figure = cell if isinstance(cell, Figure) else None
    values: dict[str, Any] = {}
    if column.bounds != "only":
        values[column.key] = _finite(figure.value) if figure else cell.total if isinstance(cell, Count) else cell
    if column.bounds:
        values[f"{column.key}_low"] = None if figure is None else _finite(figure.low)
        values[f"{column.key}_high"] = None if figure is None else _finite(figure.high)
    if column.spread:
        values[f"{column.key}_sd"] = None if figure is None else _finite(figure.sd)
    if column.ranked:
        values[f"{column.key}_rank"] = (figure.rank or None) if figure else None
    if column.reasons:
        values[f"{column.key}_reasons"] = dict(cell.reasons) if isinstance(cell, Count) else {}
    return values


def _finite(value: float) -> float | None:
    """The same number with None for NaN and infinite ones, which JSON lacks."""
    return value if math.isfinite(value) else None


def _csv_field(value: Any) -> Any:
    if isinstance(value, dict):
        value = ", ".join(f"{count} {reason}" for reason, count in sorted(value.items()))
    return harmless(visible(value)) if isinstance(value, str) else value


FORMATS: dict[str, Callable[[Table], str]] = {
    "table": as_text,
    "markdown": as_markdown,
    "json": as_json,
    "csv": as_csv,
    "latex": as_latex,
}
ENDINGS = {"markdown": "md", "csv": "csv", "latex": "tex"}
