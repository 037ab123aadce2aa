"""Annotation tables of a dataset: read whole, and searched for paintings that stand in them twice."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import UTF8, TableRow, read_table
from artquant_plugin.data.paintings import plain_name


def read_annotations(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    encoding: str = UTF8,
    delimiter: str = ",",
    remedy: str = "name the file that the dataset's authors publish",
    has_options: bool = False,
) -> list[TableRow]:
    """Read an annotation table into memory.

    Args:
        path: the table; `artquant_plugin.common.tables.read_table` says which formats it may have.
        columns: the columns that must be there.
        optional: further columns, which are read where the table has them.
        encoding: of a text table, as Python names it.
        delimiter: the character between the fields of a text table.
        remedy: what the user can do about a missing column, the end of the message.
        has_options: whether the user's command takes ``--delimiter`` and ``--encoding``, which messages then name.

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
        )
    )
    if not rows:
        raise ArtQuantError(f"'{path}' has no rows; name the file with the annotations")
    return rows


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
