"""The header line of a text table: whether there is one, and what a message says where it is not what was expected."""

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.number_text import DECIMAL_COMMA, parse_number
from artquant_plugin.common.text import one_line

PICTURE_NAME = re.compile(r".+\.(jpe?g|jfif|jpe|png|webp|gif|bmp|tiff?|avif|heic|jp2|jxl)", re.IGNORECASE)
OTHER_DELIMITERS = ("|", ":", ";", "\t", ",")  # those that only a message looks for, and those of tables that are read
LINES_BEFORE_HEADER = 20  # among which a message looks for the names of the columns


@dataclass
class TextTable:
    """A text table whose header line was read.

    Args:
        header: the names of the columns.
        delimiter: what sets the fields apart.
        rows: the fields of the lines behind the header.
        passed: number of lines before the header: blank ones, and Excel's own, which names the delimiter.
        first: the header line as it stands in the file.
        begins: the line at which the next row begins; whoever takes a row moves it on.
    """

    header: list[str]
    delimiter: str
    rows: Any
    passed: int
    first: str
    begins: int


def header_remedy(table: TextTable, columns: Sequence[str], has_options: bool, given: str | None) -> str:
    """What the user can do where the asked columns stand in the header behind another delimiter, or in a later line.

    Args:
        table: the table whose header lacks a column; some of its rows are taken.
        columns: the columns that must be there.
        has_options: whether the user's command takes ``--delimiter``.
        given: the delimiter that the user named, which may be that of another table of the same command; or None.

    Returns:
        The end of the message; empty where the columns stand nowhere.
    """
    for delimiter in OTHER_DELIMITERS if len(table.header) == 1 else ():
        if set(columns) <= {name.strip().strip('"') for name in table.first.split(delimiter)}:
            way = f"pass --delimiter {delimiter!r}" if has_options else "set them apart by ',' or ';' or a tab"
            if has_options and given is not None:
                way += f", and write tables of the same command alike, where another one needs {given!r}"
            return f"its fields are set apart by {delimiter!r}: {way}"
    with suppress(csv.Error):  # a line that cannot be cut into fields is no header either
        for row in islice(table.rows, LINES_BEFORE_HEADER):
            if set(columns) <= {name.strip() for name in row}:
                number = table.rows.line_num + table.passed
                return f"line {number} has the names of the columns: remove the lines before it"
    return ""


def lacks_header(header: Sequence[str], first: str, columns: Sequence[str]) -> bool:
    """Whether the first line of a table is a row: a column is missing, or is named after a cell of that row.

    Args:
        header: the fields of the first line.
        first: the first line as it stands in the file.
        columns: the columns that must be there; none where any will do.
    """
    fields = _first_cells(header, first)
    numbered = [str(number) for number in range(len(fields) + 1)]
    if fields in (numbered[:-1], numbered[1:]):  # names that tools give to columns that have none
        return False
    if columns and all(column in header for column in columns) and not all(map(_is_cell, columns)):
        return False
    if any(map(PICTURE_NAME.fullmatch, fields)):
        return True
    numbers = [field for field in fields if _is_number(field)]
    return bool(numbers) and (len(numbers) == len(fields) or any(not number.isdigit() for number in numbers))


def _first_cells(header: Sequence[str], first: str) -> list[str]:
    """The cells of a first line that is a row, also with decimal commas between semicolons, or between spaces."""
    if ";" in first:
        return [cell.strip() for cell in first.split(";")]
    return list(header) if len(header) > 1 else first.split()


def _is_cell(name: str) -> bool:
    return _is_number(name) or PICTURE_NAME.fullmatch(name) is not None


def _is_number(text: str) -> bool:
    return parse_number(text) is not None or DECIMAL_COMMA.fullmatch(text) is not None


def no_header(location: str, table: TextTable, columns: Sequence[str], option: str) -> ArtQuantError:
    """The error of a table whose first line is a row, with the option that reads it, its columns guessed.

    Args:
        location: the path or the address of the table.
        table: the table, whose header is that row.
        columns: the columns that must be there.
        option: what the user can pass to have the table read, with ``{image}`` and ``{score}`` in the place of the
            columns' numbers; empty where there is no such option.
    """
    fields = _first_cells(table.header, table.first)
    numbers = [place for place, field in enumerate(fields, start=1) if _is_number(field)]
    others = [place for place, _ in enumerate(fields, start=1) if place not in numbers]
    known = len(others) == len(numbers) == 1
    names = ("image", "score") if all(map(_is_cell, columns)) else columns
    delimiter = ";" if ";" in table.first else table.delimiter
    ways = [f"put a line with the names of its columns before the first one, such as {delimiter.join(names)!r}"]
    if option:
        told = {"image": others[0], "score": numbers[0]} if known else {"image": "N", "score": "M"}
        ways.insert(0, f"pass {option.format(**told)}" + ("" if known else ", the numbers of its columns from 1"))
    row = one_line(table.first.strip())
    return ArtQuantError(f"'{location}' has no header line: it begins with the row {row!r}; {', or '.join(ways)}")
