"""Reading annotation tables: encodings, columns and numbers, with every fault named by file and line."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        path: of the file.
        line: number in it, the header being 1.
        values: text by column, stripped.
    """

    path: Path
    line: int
    values: dict[str, str]

    @property
    def place(self) -> str:
        """``file:line``, for messages."""
        return f"{self.path}:{self.line}"

    def number(self, column: str, low: float, high: float, remedy: str) -> float:
        """A number of a range.

        Raises:
            ArtQuantError: no number, or outside the range.
        """
        text = self.values[column]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ArtQuantError(f"{self.place}: {column} {text!r} is no number; {remedy}")
        if not low <= value <= high:
            raise ArtQuantError(f"{self.place}: {column} {text} is outside [{low:g}, {high:g}]; {remedy}")
        return value


def read_table(
    path: Path, columns: Sequence[str], *, encoding: str = "utf-8-sig", delimiter: str = ",", remedy: str = ""
) -> list[Row]:
    """Read a CSV file whole.

    Args:
        path: the file.
        columns: that must be there.
        encoding: of the file; UTF-8 files may begin with a byte-order mark.
        delimiter: between fields.
        remedy: what to do about a missing column.

    Raises:
        ArtQuantError: no such file, other encoding, missing column, a line of another length, or no rows.
    """
    if not path.is_file():
        raise ArtQuantError(f"annotation file '{path}' {_absent(path)}; mend --annotations")
    if delimiter == "\\t":  # as people type it
        delimiter = "\t"
    if len(delimiter) != 1:
        raise ArtQuantError(f"delimiter {delimiter!r} is not one character; pass one such as ';' or '\\t'")
    try:
        text = path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise ArtQuantError(
            f"'{path}' is not {encoding} (byte {error.object[error.start]:#04x} at {error.start}); convert it"
        ) from error
    except LookupError as error:
        raise ArtQuantError(f"encoding {encoding!r} is unknown; use one such as utf-8 or gbk") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = list(_rows(path, reader, columns, remedy))
    except csv.Error as error:
        raise ArtQuantError(f"{path}:{reader.line_num}: {error}; mend the line") from error
    if not rows:
        raise ArtQuantError(f"'{path}' has no rows; name the file with the annotations")
    return rows


def _rows(path: Path, reader: Iterator[list[str]], columns: Sequence[str], remedy: str) -> Iterator[Row]:
    header = [name.strip() for name in next(reader, [])]
    absent = [column for column in columns if column not in header]
    if absent:
        remedy = remedy or "name the file that the dataset's authors publish"
        raise ArtQuantError(f"'{path}' has no column {absent[0]!r}, only {', '.join(header) or 'nothing'}; {remedy}")
    for column in columns:
        if header.count(column) > 1:
            raise ArtQuantError(f"'{path}' has {header.count(column)} columns {column!r}; rename all but one")
    for line in reader:
        if not any(field.strip() for field in line):
            continue
        number = reader.line_num  # type: ignore[attr-defined]  # csv.reader's own attribute
        if len(line) != len(header):
            raise ArtQuantError(f"{path}:{number}: {len(line)} fields for {len(header)} columns; mend the line")
        yield Row(path, number, {name: field.strip() for name, field in zip(header, line, strict=True)})


def check_once(tables: Iterable[Sequence[Row]], column: str) -> None:
    """A painting may stand in one table, once: one that is trained on and tested with makes its score worthless.

    Args:
        tables: of the splits.
        column: with the images' names.

    Raises:
        ArtQuantError: a name stands twice; both places are named.
    """
    places: dict[str, str] = {}
    repeated: list[Row] = []
    for table in tables:
        for row in table:
            if places.setdefault(row.values[column], row.place) != row.place:
                repeated.append(row)
    if repeated:
        row = repeated[0]
        name = row.values[column]
        raise ArtQuantError(
            f"{row.place}: {column} {name!r} stands already at {places[name]} ({len(repeated):,} such rows); a "
            "painting may stand in one split, once: remove the repeated rows"
        )


def _absent(path: Path) -> str:
    return "is no file" if path.exists() else "does not exist"
