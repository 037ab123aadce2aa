"""Tables as people and tools write them: CSV, TSV, JSON, JSON lines, Parquet and Excel files, read one row at a time.

Every table of the product is read here, so that a fault is found in one place and named by file and line in the same
words, whichever command reads the table. Nothing is guessed: a line with another number of fields than the header, a
column that stands twice, and bytes of another encoding are errors. A comma is a decimal sign in a table whose fields
are set apart by semicolons or tabs, as spreadsheets write it where people write 4,5, and in the texts of a workbook;
nowhere else.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

from artquant_plugin.common.csv_text import original
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.excel import EXCEL_SUFFIXES, excel_rows
from artquant_plugin.common.json_text import KEYS_ONCE, json_values
from artquant_plugin.common.locations import open_binary, suffix
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.number_text import DECIMAL_COMMA, decimal_remedy, parse_number
from artquant_plugin.common.table_header import TextTable, header_remedy, lacks_header, no_header
from artquant_plugin.common.text import first_line, listed, one_line

UTF8 = "utf-8-sig"  # UTF-8, with a byte-order mark at the beginning or without
JSON_SUFFIXES = (".json", ".jsonl")
ROWS_AT_ONCE = 1000  # of a Parquet file
SHOWN_COLUMNS = 20  # of those that a table has, when one is missing
SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # Excel's own first line, which names the delimiter
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # the first bytes of .xlsx and .ods files, and of .xls files
PARQUET = b"PAR1"  # the first bytes of a Parquet file
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
DECIMAL_COMMA_DELIMITERS = (";", "\t")  # with which spreadsheets write tables where people write 4,5
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Args:
        place: where it stands, for messages: ``file:line`` with the header as line 1 and the line at which a quoted
            row begins; of a Parquet file ``file, row N``, counted from 1.
        values: what the row holds, by column, for the columns that the reader was asked for. Cells of a CSV file are
            text without white space around it; JSON and Parquet files keep their own types.
        decimal_signs: the decimal sign that each column has shown so far and the place of the first one, where a comma
            may be one; the rows of a table share it. None where a comma is no decimal sign.
    """

    place: str
    values: dict[str, Any]
    decimal_signs: dict[str, tuple[str, str]] | None = field(default=None, repr=False, compare=False)

    def text(self, column: str) -> str:
        """A cell as text without white space around it; empty when the cell is null or its column is absent.

        Raises:
            ArtQuantError: the cell is bytes of a Parquet file that are no UTF-8.
        """
        value = self.values.get(column)
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise ArtQuantError(
                    f"{self.place}: {column} holds bytes that are no UTF-8; write it as text"
                ) from error
        return "" if value is None else str(value).strip()

    def parsed(self, column: str) -> float | None:
        """A cell as a finite number, or None where it is none; `parse_number` says what a number is.

        Raises:
            ArtQuantError: the column has decimal commas and decimal points. ``1.234`` could then be either number.
        """
        value = self.values.get(column)
        if self.decimal_signs is None or not isinstance(value, str):
            return parse_number(value)
        comma = DECIMAL_COMMA.fullmatch(value)
        number = parse_number(value.replace(",", ".") if comma else value)
        if number is not None and (comma or "." in value):
            sign = "comma" if comma else "point"
            before, place = self.decimal_signs.setdefault(column, (sign, self.place))
            if before != sign:
                raise ArtQuantError(
                    f"{self.place}: {column} {value!r} has a decimal {sign}, that of {place} a decimal {before}; "
                    "write all of them alike"
                )
        return number

    def number(self, column: str, low: float, high: float, remedy: str, *, range_remedy: str | None = None) -> float:
        """A cell as a number.

        Args:
            column: the name of the column that holds the cell.
            low: the smallest value allowed; may be -inf.
            high: the largest value allowed; may be inf.
            remedy: what the user can do about a cell that is no number, the end of the message.
            range_remedy: what the user can do about a number outside of [low, high]; None for the same.

        Raises:
            ArtQuantError: the cell holds no finite number, or one outside of [low, high].
        """
        text, value = self.text(column), self.parsed(column)
        if value is None:
            remedy = decimal_remedy(text) or remedy
            raise ArtQuantError(f"{self.place}: {column} {one_line(text)!r} is no number; {remedy}")
        if not low <= value <= high:
            remedy = range_remedy or remedy
            raise ArtQuantError(f"{self.place}: {column} {text} is outside [{low:g}, {high:g}]; {remedy}")
        return value


def read_table(
    location: str,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str = UTF8,
    remedy: str = "name the right column",
    has_options: bool = False,
    header: bool = True,
    header_option: str = "",
) -> Iterator[TableRow]:
    r"""Read a table row by row; no more than a few rows are in memory, except of a ``.json`` file.

    The suffix tells the format: ``.json`` (a list of objects, or objects one behind the other), ``.jsonl`` (one object
    per line), ``.parquet``, ``.xlsx`` and ``.xlsm`` (the only sheet that holds something); everything else is text
    with a header line. Blank lines are passed over.

    Args:
        location: a path, or an address that fsspec reads.
        columns: the columns that must be there; for JSON, the keys that every object must have.
        optional: further columns, which are read where the table has them.
        delimiter: the character between the fields of a line; a tab may be written as ``\t``. None takes a tab
            where the first line holds one, else a semicolon where it holds one and no comma, else a comma; but a space
            where the first line holds none of these, and several words between which the asked columns are, or a name
            and a number of a table without a header line. Several spaces count as one.
        encoding: of a text table; JSON is always UTF-8.
        remedy: what the user can do about a missing column, the end of the message.
        has_options: whether the user's command takes ``--delimiter`` and ``--encoding``, which messages then name.
        header: whether the first line of a text table has the names of the columns. Without it they are called ``1``,
            ``2`` and so on.
        header_option: what the user can pass to have a table without a header line read, for messages, with
            ``{image}`` and ``{score}`` in the place of the columns' numbers; empty where there is no such option.

    Yields:
        Each row, with the asked columns.

    Raises:
        ArtQuantError: the file is absent, is a workbook of another kind, or one without openpyxl or with several
            sheets; is in another encoding, lacks a column or has one twice; a line has another number of fields than
            the header; a line of JSON is no object.
    """
    kind = suffix(location)
    if kind in JSON_SUFFIXES:
        yield from _json_rows(location, columns, optional, remedy)
    elif kind == ".parquet":
        number = 0
        for batch in parquet_batches(location, columns, optional=optional, remedy=remedy):
            for row in range(batch.num_rows):
                number += 1
                place = f"{location}, row {number}"
                try:
                    values = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
                except UnicodeDecodeError as error:
                    raise ArtQuantError(f"{place}: text that is no UTF-8 ({error.reason}); write it again") from error
                yield TableRow(place, values)
    elif kind in EXCEL_SUFFIXES:
        yield from _workbook_rows(location, columns, optional, remedy, header, header_option)
    else:
        yield from _text_rows(
            location, columns, optional, delimiter, encoding, remedy, has_options, header, header_option
        )


def table_columns(
    location: str, *, delimiter: str | None = None, encoding: str = UTF8, has_options: bool = False
) -> list[str]:
    """The names of a table's columns; of a JSON file, the keys of its first object.

    Args:
        location: a path, or an address that fsspec reads; its suffix tells the format, as in `read_table`.
        delimiter: the character between the fields of a line; None for what the first line shows.
        encoding: the encoding of a text table; JSON is always UTF-8.
        has_options: whether messages may name ``--delimiter`` and ``--encoding``, which the user's command then takes.

    Returns:
        The names, in their order; none for an empty file, and for a JSON file that begins with no object.

    Raises:
        ArtQuantError: the file is absent, is a workbook that cannot be read, or is in another encoding.
    """
    kind = suffix(location)
    if kind in JSON_SUFFIXES:
        _, first = next(read_json_values(location), ("", None))
        return list(first) if isinstance(first, dict) else []
    if kind == ".parquet":
        with _parquet_file(location) as table:
            return table.schema_arrow.names
    if kind in EXCEL_SUFFIXES:
        return next((row for _, row in excel_rows(location) if row), [])
    with _text_table(location, delimiter, encoding, has_options) as text:
        return text.header


def read_json_values(
    location: str, *, expected: str = "JSON that can be read", remedy: str = "mend the line"
) -> Iterator[tuple[str, Any]]:
    """The values of a JSON file, with the place of each one.

    Args:
        location: a ``.jsonl`` file, which holds one value per line and is read line by line; or any other file, which
            is read whole and holds a list of values, or values one behind the other.
        expected: what the error says that a line is not, when it is no JSON.
        remedy: what the user can do about such a line, the end of the message.

    Yields:
        ``file:line`` at which the value begins, with the value's number behind it where an earlier one begins in the
        same line; and the value.

    Raises:
        ArtQuantError: the file is absent, is not UTF-8, is no JSON, or ends inside a list; an object has a key twice.
    """
    if suffix(location) == ".jsonl":
        with open_binary(location) as file:
            for number, content in enumerate(file, start=1):
                text = _utf8(content, location, number)
                if text and not text.isspace():
                    try:
                        value = KEYS_ONCE.decode(text)
                    except (ValueError, RecursionError) as error:
                        raise _json_error(f"{location}:{number}", error, expected, remedy) from error
                    yield f"{location}:{number}", value
        return
    with open_binary(location) as file:
        text = _utf8(file.read(), location, 1)
    if text.lstrip().startswith("[") and not text.rstrip().endswith("]"):
        raise ArtQuantError(f"'{location}' ends before its list does; fetch or write it again")
    line, counted, before = 1, 0, 0
    try:
        for number, (position, value) in enumerate(json_values(text, strict=True, decoder=KEYS_ONCE), start=1):
            line, counted = line + text.count("\n", counted, position), position
            yield f"{location}:{line}" + (f" (entry {number:,})" if line == before else ""), value
            before = line
    except json.JSONDecodeError as error:
        raise _json_error(f"{location}:{error.lineno}", error, expected, remedy) from error


def parquet_batches(
    location: str,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    rows_at_once: int = ROWS_AT_ONCE,
    remedy: str = "name the right column",
) -> Iterator[Any]:
    """Read a Parquet file in record batches of pyarrow.

    Args:
        location: a path, or an address that fsspec reads.
        columns: the columns that must be there.
        optional: further columns, which are read where the file has them.
        rows_at_once: the largest number of rows of a batch.
        remedy: what the user can do about a missing column, the end of the message.

    Yields:
        `pyarrow.RecordBatch` objects, in the file's order.

    Raises:
        ArtQuantError: the file is absent or no whole Parquet file, lacks a column or has one twice.
    """
    with _parquet_file(location) as table:
        wanted = _positions(location, table.schema_arrow.names, columns, optional, remedy)
        yield from table.iter_batches(batch_size=rows_at_once, columns=list(wanted))


@contextmanager
def _parquet_file(location: str) -> Iterator[Any]:
    """Open a Parquet file; what goes wrong while it is read within the block is named here, too."""
    import pyarrow
    from pyarrow import parquet

    with open_binary(location) as file:
        try:
            yield parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: what it says of broken pages
            if is_machine_fault(error):
                raise machine_error(error, f"'{location}' cannot be read") from error
            raise ArtQuantError(
                f"'{location}' is no whole Parquet file ({first_line(error)}); fetch or write it again"
            ) from error


def missing_column(place: str, column: str, present: Sequence[str], remedy: str) -> ArtQuantError:
    """The error of a table that lacks a column.

    Args:
        place: the table's file, or file and line of a JSON object.
        column: the column that is not there.
        present: the columns that are there.
        remedy: what the user can do, the end of the message.
    """
    if not present:
        return ArtQuantError(f"'{place}' has no column at all: it is empty; write it again, or name another file")
    names = listed(present, SHOWN_COLUMNS)
    return ArtQuantError(f"'{place}' has no column {column!r}, only {one_line(names)}; {remedy}")


def _positions(
    location: str, present: Sequence[str], columns: Sequence[str], optional: Sequence[str], remedy: str
) -> dict[str, int]:
    """The position of each asked column that a table has."""
    for column in columns:
        if column not in present:
            raise missing_column(location, column, present, remedy)
    chosen = {column: present.index(column) for column in (*columns, *optional) if column in present}
    for column in chosen:
        if present.count(column) > 1:
            raise ArtQuantError(f"'{location}' has {present.count(column)} columns {column!r}; rename all but one")
    return chosen


@contextmanager
def _text_table(
    location: str,
    delimiter: str | None,
    encoding: str,
    has_options: bool,
    columns: Sequence[str] = (),
    *,
    has_header: bool = True,
) -> Iterator[TextTable]:
    """Open a text table; what goes wrong while its rows are taken within the block is named here, too."""
    if delimiter == "\\t":  # as people type it
        delimiter = "\t"
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise ArtQuantError(f"delimiter {delimiter!r} is not one character; pass one such as ';' or '\\t'")
    try:
        io.TextIOWrapper(io.BytesIO(b"a"), encoding=encoding)  # refuses codecs that are no encodings of text, too
    except (LookupError, ValueError) as error:  # a name with a NUL byte is a ValueError
        raise ArtQuantError(f"encoding {encoding!r} is unknown; use one such as utf-8, cp1252 or gbk") from error
    table = TextTable([], "", iter(()), 0, "", 1)
    with open_binary(location) as raw:
        _refuse_other_formats(location, raw, encoding, has_options)
        file = io.TextIOWrapper(raw, encoding=encoding, newline="")
        try:
            first = file.readline()
            if named := SEPARATOR_LINE.fullmatch(first):
                delimiter, first, table.passed = named[1], file.readline(), 1
            while first.isspace():  # blank lines before the header
                first, table.passed = file.readline(), table.passed + 1
            table.first, table.delimiter = first, delimiter or _delimiter(first)
            if delimiter is None and not has_header and ";" in first and "\t" not in first:
                table.delimiter = ";"  # the commas are decimal ones
            words = first.split()
            if delimiter is None and len(words) > 1 and not set(first) & set("\t;,"):
                if not has_header or set(columns) <= set(words):
                    table.delimiter = " "
            table.begins += table.passed
            # Without `strict`, a quote that is never closed takes in the rest of the file without a word.
            form: dict[str, Any] = {"delimiter": table.delimiter, "skipinitialspace": table.delimiter == " "}
            table.rows = csv.reader(chain([first], file), strict=True, **form)
            if has_header:
                table.header = [original(name.strip()) for name in next(table.rows, [])]
            else:
                table.header = [str(number) for number, _ in enumerate(next(csv.reader([first], **form), []), start=1)]
            table.begins = table.rows.line_num + table.passed + 1
            yield table
        except csv.Error as error:
            raise ArtQuantError(f"{location}:{table.begins}: {error}; mend the line") from error
        except UnicodeError:  # not only that of decoding: UTF-16 without its mark is one, too
            raise _undecodable(location, encoding, has_options) from None


def _text_rows(
    location: str,
    columns: Sequence[str],
    optional: Sequence[str],
    delimiter: str | None,
    encoding: str,
    remedy: str,
    has_options: bool,
    has_header: bool,
    header_option: str,
) -> Iterator[TableRow]:
    with _text_table(location, delimiter, encoding, has_options, columns, has_header=has_header) as table:
        header = table.header
        if has_header and lacks_header(header, table.first, columns):
            raise no_header(location, table, columns, header_option)
        if any(column not in header for column in columns):
            remedy = header_remedy(table, columns, has_options, delimiter) or remedy
        positions = _positions(location, header, columns, optional, remedy)
        signs: dict[str, tuple[str, str]] | None = {} if table.delimiter in DECIMAL_COMMA_DELIMITERS else None
        for fields in table.rows:
            place, table.begins = f"{location}:{table.begins}", table.rows.line_num + table.passed + 1
            if not any(map(str.strip, fields)):
                continue
            if len(fields) != len(header):
                raise _other_length(place, len(fields), len(header), table.delimiter, not fields[-1].strip())
            values = {column: original(fields[position].strip()) for column, position in positions.items()}
            if any("\0" in value for value in values.values()):
                raise ArtQuantError(f"{place}: the line holds a NUL byte, which no text has; write the file again")
            yield TableRow(place, values, signs)


def _workbook_rows(
    location: str, columns: Sequence[str], optional: Sequence[str], remedy: str, has_header: bool, header_option: str
) -> Iterator[TableRow]:
    rows = excel_rows(location)
    number, first = next(rows, (1, []))
    header = [str(cell) for cell in first]
    if has_header:
        line = "\t".join(header)
        if lacks_header(header, line, columns):
            raise no_header(location, TextTable(header, "\t", iter(()), 0, line, 1), columns, header_option)
    else:
        header, rows = [str(place) for place, _ in enumerate(first, start=1)], chain([(number, first)], rows)
    positions = _positions(location, header, columns, optional, remedy)
    signs: dict[str, tuple[str, str]] = {}
    for number, row in rows:
        place = f"{location}:{number}"
        if len(row) > len(header):
            raise ArtQuantError(f"{place}: {len(row)} cells for {len(header)} columns; mend the row")
        row += [None] * (len(header) - len(row))
        yield TableRow(place, {column: row[position] for column, position in positions.items()}, signs)


def _other_length(place: str, fields: int, columns: int, delimiter: str, ends_empty: bool) -> ArtQuantError:
    remedy = "mend the line"
    if fields > columns:
        remedy = f"put a field that holds {delimiter!r}, such as a decimal comma, in quotes"
        if ends_empty:
            remedy += f", or remove the {delimiter!r} behind the last field"
    return ArtQuantError(f"{place}: {fields} fields for {columns} columns; {remedy}")


def _delimiter(header: str) -> str:
    """The delimiter that a header line shows."""
    if "\t" in header:
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _refuse_other_formats(location: str, raw: IO[bytes], encoding: str, has_options: bool) -> None:
    """Name what is no text by its first bytes, and go back to the beginning."""
    start = raw.read(512)
    raw.seek(0)
    if start[:4] in WORKBOOKS:
        ending = "" if start[:4] != WORKBOOKS[0] else ", or give it a name that ends with .xlsx if Excel wrote it"
        raise ArtQuantError(
            f"'{location}' is a workbook, as Excel writes them, not a text table; save it as CSV{ending}"
        )
    if start[:4] == PARQUET:
        raise ArtQuantError(f"'{location}' is a Parquet file; give it a name that ends with .parquet")
    for mark, name in COMPRESSED.items():
        if start.startswith(mark):
            raise ArtQuantError(f"'{location}' is compressed ({name}), not a text table; unpack it")
    if encoding == UTF8 and (start[:2] in UTF16 or b"\0" in start):
        raise _nul_bytes(location, start, has_options)


def _nul_bytes(location: str, start: bytes, has_options: bool) -> ArtQuantError:
    """The error of a file that begins with a mark of UTF-16, or with NUL bytes, which no text in UTF-8 has.

    Of UTF-16, at least every second byte is one where the text is Latin, always the first or always the second of two.
    """
    if start[:2] not in UTF16 and max(start[0::2].count(0), start[1::2].count(0)) < len(start) // 4:
        return ArtQuantError(f"'{location}' is no text: it holds NUL bytes; name a table, or write the file again")
    remedy = "save the file as UTF-8" + (", or pass --encoding utf-16" if has_options else "")
    return ArtQuantError(f"{location}:1: the line is not UTF-8 (it has NUL bytes, as UTF-16 has); {remedy}")


def _undecodable(location: str, encoding: str, has_options: bool) -> ArtQuantError:
    """The error of a file that is not in its encoding, with the first line that is not: the file is read once more."""
    decoder, number = codecs.getincrementaldecoder(encoding)(), 0
    remedy = "save the file as UTF-8" + (", or pass the right --encoding, such as cp1252" if has_options else "")
    byte = ""
    with open_binary(location) as file:
        for number, line in enumerate(file, start=1):  # noqa: B007 - the last number is used behind the loop
            try:
                decoder.decode(line)
            except UnicodeDecodeError as error:
                byte = f" (byte {error.object[error.start]:#04x})"
                break
            except UnicodeError:  # UTF-16 without the mark that tells the order of its bytes
                break
    name = "UTF-8" if encoding == UTF8 else encoding
    return ArtQuantError(f"{location}:{number}: the line is not {name}{byte}; {remedy}")


def _json_rows(location: str, columns: Sequence[str], optional: Sequence[str], remedy: str) -> Iterator[TableRow]:
    wanted = dict.fromkeys((*columns, *optional))
    for place, value in read_json_values(location):
        if not isinstance(value, dict):
            raise ArtQuantError(f"{place}: {type(value).__name__} instead of an object; give one object per row")
        for column in columns:
            if column not in value:
                raise missing_column(place, column, list(value), remedy)
        yield TableRow(place, {column: value[column] for column in wanted if column in value})


def _utf8(content: bytes, location: str, number: int) -> str:
    start = content[:512]
    if start[:2] in UTF16 or b"\0" in start:
        raise _nul_bytes(location, start, False)
    try:
        return content.decode(UTF8)
    except UnicodeDecodeError as error:
        number += content.count(b"\n", 0, error.start)
        byte = content[error.start]
        raise ArtQuantError(
            f"{location}:{number}: the line is not UTF-8 (byte {byte:#04x}); save the file as UTF-8"
        ) from error


def _json_error(place: str, error: Exception, expected: str, remedy: str) -> ArtQuantError:
    said = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
    return ArtQuantError(f"{place}: not {expected} ({said}); {remedy}")
