"""Values and options that several commands take."""

import argparse
from typing import Any


def whole_number(text: str) -> int:
    """A whole number from 0, as `type` of an option.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1, as `type` of an option.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def add_overrides(parser: Any) -> None:
    """Add ``--set``, whose values a configuration's reader takes as ``overrides``."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the configuration, section.key=value; may be repeated",
    )
