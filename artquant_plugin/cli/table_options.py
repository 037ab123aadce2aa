"""Options of the commands that print tables, and the one way in which they print them."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from artquant_plugin.report.table_cells import Table

FORMATS = (
    "table",
    "markdown",
    "json",
    "csv",
    "latex",
)  # the keys of `report.table_formats.FORMATS`, without its imports


def add_table_options(parser: Any, *, default: str = "table") -> None:
    """Add ``--format`` and ``--columns``.

    Args:
        parser: the parser of the command.
        default: what the command prints without ``--format``, for the help.
    """
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help=f"how to print (default: {default}); json and csv have full precision, and each interval's ends",
    )
    parser.add_argument(
        "--columns",
        type=_names,
        metavar="NAMES",
        help="columns to print, in this order, such as srocc,plcc (default: all; in LaTeX those that fit a page)",
    )


def in_chosen_format(tables: "Sequence[Table]", args: argparse.Namespace, *, several: bool) -> str:
    """The tables as the user wants them.

    Args:
        tables: the tables of the command, at least one.
        args: the command line, with the options of `add_table_options`.
        several: whether the command prints several tables in general, so that JSON is a list.

    Raises:
        ArtQuantError: no table has one of the chosen columns.
    """
    from artquant_plugin.report.table_cells import choose_columns
    from artquant_plugin.report.table_formats import FORMATS as RENDERERS
    from artquant_plugin.report.table_formats import in_format

    chosen = choose_columns(tables, args.columns) if args.columns else tables
    form = args.format or "table"
    return in_format(chosen, form) if several else RENDERERS[form](chosen[0])


def beside_tables(args: argparse.Namespace) -> TextIO:
    """Where a line about a written file goes: behind tables that people read, and not among what programs read.

    Args:
        args: the command line, with the options of `add_table_options`.
    """
    return sys.stdout if args.format in (None, "table", "markdown") else sys.stderr


def _names(text: str) -> list[str]:
    """Read names with commas between them, as the `type` of an option."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names with commas between them")
    return list(dict.fromkeys(names))
