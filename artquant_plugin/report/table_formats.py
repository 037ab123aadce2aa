"""Writing a table as text, Markdown, CSV, LaTeX or JSON."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from artquant_plugin.common.csv_text import harmless
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.text import visible

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


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose cells are text.

    Args:
        name: the name of files that hold the table, without an ending, such as ``leaderboard-baid``.
        title: one line about what the table shows.
        header: the titles of the columns.
        rows: the rows, each with as many cells as the header.
        notes: lines of text below the table; may be empty.
        word_columns: number of columns, counted from the left, that hold words; the others hold figures.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    word_columns: int = 1


def as_text(table: Table) -> str:
    """The title, the columns aligned by spaces, and the notes, for a terminal."""
    body = aligned([table.header, *table.rows])
    return "\n".join([visible(table.title), body, *map(visible, table.notes)])


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
    """The title in bold, a Markdown table, and the notes."""
    notes = [f"\n{_markdown_text(note)}" for note in table.notes]
    return "\n".join([f"**{_markdown_text(table.title)}**", "", markdown_rows([table.header, *table.rows]), *notes])


def markdown_rows(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table.

    Args:
        lines: at least one row; the first one is the header. All have the same number of cells.
    """
    header, *rows = lines
    drawn = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_markdown_text, line)) + " |" for line in drawn)


def _markdown_text(text: str) -> str:
    """A text as one line in which Markdown reads no border of a cell, no HTML tag, no link and no picture.

    Marks of emphasis are not escaped.
    """
    return _folded(text).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def as_csv(table: Table) -> str:
    """The table as CSV (RFC 4180), without title and notes.

    A word that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(harmless(visible(cell)) for cell in table.header)
    for row in table.rows:
        writer.writerow([*(harmless(visible(cell)) for cell in row[: table.word_columns]), *row[table.word_columns :]])
    return buffer.getvalue().rstrip("\n")


def as_latex(table: Table) -> str:
    """The table as LaTeX, for the package `booktabs`."""
    columns = "l" * table.word_columns + "r" * (len(table.header) - table.word_columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\label{{tab:{_NOT_IN_LABELS.sub('-', table.name)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(table.header),
        r"\midrule",
        *(_latex_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {latex_text(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def as_json(table: Table) -> str:
    """The table as a JSON object; each row is an object of its cells by the titles of their columns."""
    content = {
        "name": table.name,
        "title": table.title,
        "rows": [dict(zip(table.header, row, strict=True)) for row in table.rows],
        "notes": list(table.notes),
    }
    return printable_json(content, indent=1)


def latex_text(text: str) -> str:
    """A text with every character escaped that LaTeX would read as a command, as one line."""
    return "".join(_LATEX.get(sign, sign) for sign in _folded(text))


def _latex_row(cells: Sequence[str]) -> str:
    text = " & ".join(latex_text(cell) for cell in cells)
    # At the start of a row, `[` and `*` would be read as an argument of the line break or rule before the row.
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"


def _folded(text: str) -> str:
    """A text as one line, since a line break would end the row of a table, with control characters as escapes."""
    return visible(" ".join(text.split()))


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
    "json": as_json,
}
ENDINGS = {"markdown": "md", "csv": "csv", "latex": "tex"}
