"""Annotation tables of a dataset: read whole, and searched for paintings that stand in them twice."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import UTF8, TableRow, read_table
from artquant_plugin.common.text import listed
from artquant_plugin.data.paintings import plain_name

REMEDY = "mend the row, or fetch the file again"  # of a faulty row of a file that a dataset's authors publish
SHOWN_FAULTS = 3
Made = TypeVar("Made")


def read_annotations(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    encoding: str = UTF8,
    delimiter: str | None = ",",
    remedy: str = "name the file that the dataset's authors publish",
    has_options: bool = False,
    header: bool = True,
    header_option: str = "",
) -> list[TableRow]:
    """Read an annotation table into memory.

    Args:
        path: the table; `artquant_plugin.common.tables.read_table` says which formats it may have.
        columns: the columns that must be there.
        optional: further columns, which are read where the table has them.
        encoding: of a text table, as Python names it.
        delimiter: the character between the fields of a text table; None takes the one that its first line shows.
        remedy: what the user can do about a missing column, the end of the message.
        has_options: whether the user's command takes ``--delimiter`` and ``--encoding``, which messages then name.
        header: whether the first line of a text table has the names of the columns, which are called ``1``, ``2`` and
            so on where it has not.
        header_option: how the user can have a table without a header line read, as in `read_table`.

    Returns:
        At least one row.

    Raises:
        ArtQuantError: the table cannot be read, or has no rows.
    """
    rows = list(
        read_table(
            str(path),
            columns,
            optional=optional,
            encoding=encoding,
            delimiter=delimiter,
            remedy=remedy,
            has_options=has_options,
            header=header,
            header_option=header_option,
        )
    )
    if not rows:
        raise ArtQuantError(f"'{path}' has no rows; name the file with the annotations")
    return rows


def read_rows(rows: Iterable[TableRow], make: Callable[[TableRow], Made]) -> list[Made]:
    """Make something of each row of a table, and tell all faulty rows at once.

    Args:
        rows: the rows of the table.
        make: makes it of one row, or raises an `ArtQuantError` that says what is wrong with the row; its last part,
            behind a semicolon, is the remedy.

    Returns:
        What was made, in the order of the rows.

    Raises:
        ArtQuantError: names the first faults and the number of all faulty rows.
    """
    made: list[Made] = []
    faults: list[str] = []
    for row in rows:
        try:
            made.append(make(row))
        except ArtQuantError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise ArtQuantError(faults[0])
    if faults:
        causes = [fault.rpartition("; ")[0] or fault for fault in faults]
        remedies = dict.fromkeys(fault.rpartition("; ")[2] for fault in faults)
        raise ArtQuantError(
            f"{listed(causes, SHOWN_FAULTS, separator='; ')} ({len(faults):,} faulty rows in all); "
            f"{listed(remedies, SHOWN_FAULTS, separator=', or ')}"
        )
    return made


def tell_together(*readings: Callable[[], Any]) -> list[Any]:
    """Read a table in several ways, and tell the faults that all of them find at once.

    Args:
        readings: each reads the same table for something else, or raises an `ArtQuantError` that tells its faults.

    Returns:
        What each of them returned, in the same order.

    Raises:
        ArtQuantError: the faults of all readings, in one message.
    """
    found: list[Any] = []
    faults: list[str] = []
    for reading in readings:
        try:
            found.append(reading())
        except ArtQuantError as error:
            faults.append(str(error))
    if faults:
        raise ArtQuantError("; also ".join(faults))
    return found


def check_once(tables: Iterable[Sequence[TableRow]], column: str) -> None:
    """Check that each painting stands in one split, once.

    A painting that is both trained on and tested with would make the test's figure worthless.

    Args:
        tables: the rows of each split.
        column: the column with the images' names.

    Raises:
        ArtQuantError: a name stands twice, if only in another spelling (``./a.jpg`` for ``a.jpg``); the message names
            both places, and how many rows repeat a name.
    """
    first: dict[str, TableRow] = {}
    repeated: list[TableRow] = []
    for table in tables:
        for row in table:
            if first.setdefault(plain_name(row.text(column)), row) is not row:
                repeated.append(row)
    if repeated:
        row = repeated[0]
        name = row.text(column)
        before = first[plain_name(name)]
        spelled = "" if before.text(column) == name else f" as {before.text(column)!r}"
        raise ArtQuantError(
            f"{row.place}: {column} {name!r} stands already at {before.place}{spelled} ({len(repeated):,} such rows); "
            "a painting may stand in one split, once: remove the repeated rows"
        )
