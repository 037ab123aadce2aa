"""The rows of a workbook of Excel, of the form that Excel writes since 2007."""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import open_binary
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import first_line, listed

EXCEL_SUFFIXES = (".xlsx", ".xlsm")
UNPACKED_LIMIT = 2**29  # bytes of a workbook's parts; its texts are held in memory, and a packed part can be a bomb
SHOWN_SHEETS = 5


def excel_rows(location: str) -> Iterator[tuple[int, list[Any]]]:
    """The rows of the only sheet that holds something, one after the other.

    Args:
        location: a path, or an address that fsspec reads.

    Yields:
        The row's number as Excel shows it, and its cells up to the last one that is not empty: texts without white
        space around them, numbers, truth values, dates, None for an empty cell. Of a formula, the value that Excel
        computed last. Empty rows are passed over.

    Raises:
        ArtQuantError: openpyxl is not installed; the file is no whole workbook; several sheets hold something.
        MachineError: this machine does not let the file be read.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ArtQuantError(
            f"'{location}' is a workbook of Excel; it needs a package that is not installed: "
            "pip install 'artquant-plugin[excel]'; or save it as CSV"
        ) from error
    with open_binary(location) as file:
        try:
            unpacked = sum(part.file_size for part in zipfile.ZipFile(file).infolist())
            if unpacked > UNPACKED_LIMIT:
                raise ArtQuantError(
                    f"'{location}' unpacks to {unpacked:,} bytes, more than {UNPACKED_LIMIT:,}; save it as CSV"
                )
            file.seek(0)
            with closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as workbook:
                for sheet in workbook.worksheets:
                    sheet.reset_dimensions()  # what a writer noted there may be wrong, and cuts rows off
                filled = [sheet for sheet in workbook.worksheets if next(_rows(sheet), None) is not None]
                if len(filled) > 1:
                    names = listed([repr(sheet.title) for sheet in filled], SHOWN_SHEETS)
                    raise ArtQuantError(
                        f"'{location}' has {len(filled)} sheets that hold something, {names}; save the one with the "
                        "table as a file of its own"
                    )
                for sheet in filled:
                    yield from _rows(sheet)
        except (ArtQuantError, GeneratorExit):
            raise
        except Exception as error:  # openpyxl raises anything for a broken part
            if is_machine_fault(error):
                raise machine_error(error, f"'{location}' cannot be read") from error
            raise ArtQuantError(
                f"'{location}' is no whole workbook of Excel ({first_line(error)}); fetch or save it again, "
                "or save it as CSV"
            ) from error


def _rows(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        row = [cell.strip() or None if isinstance(cell, str) else cell for cell in cells]
        while row and row[-1] is None:
            row.pop()
        if row:
            yield number, row
