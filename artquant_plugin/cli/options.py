"""Types of values, and options, that several commands share."""

import argparse
from typing import Any

from artquant_plugin.cli.idle_options import IdleOptions, Noted
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.tables import UTF8

NO_TRUTH_FILE = IdleOptions(
    ("--truth-image-column", "--score-column"),
    lambda args: not (args.truth and expanded(args.truth).is_file()),
    "without a file of human scores, as a dataset's columns are known",
    "pass --truth FILE",
)
NO_INTERVALS = IdleOptions(
    ("--seed",),
    lambda args: args.resamples == 0,
    "with --resamples 0, as nothing is drawn at random",
    "leave --resamples out",
)


def whole_number(text: str) -> int:
    """Read a whole number from 0, as the `type` of an option.

    Args:
        text: the value that the user wrote.

    Raises:
        argparse.ArgumentTypeError: the text is anything else, a negative number for example.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number from 1, as the `type` of an option.

    Args:
        text: the value that the user wrote.

    Raises:
        argparse.ArgumentTypeError: the text is anything else, 0 or a negative number for example.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def add_scoring_option(parser: Any) -> None:
    """Add the option ``--scoring``, whose value ends up in ``args.scoring``.

    Args:
        parser: the parser of the command, or a group of it.
    """
    parser.add_argument(
        "--scoring-file",
        "--scoring",
        dest="scoring",
        metavar="NAME_OR_FILE",
        help="preset (artquant, deqa, q-align, …) or file that says what the model is asked and how it is read "
        "(default: the model's own artquant.json, or the preset of a well-known Hub id)",
    )


def add_overrides(parser: Any) -> None:
    """Add the option ``--set KEY=VALUE``, whose values end up in ``args.overrides``.

    Args:
        parser: the parser of the command.
    """
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the configuration, section.key=value; may be repeated",
    )


def add_column_options(parser: Any) -> None:
    """Add the options that say how tables of predicted and of human scores are read."""
    parser.add_argument(
        "--image-column",
        help="column of the predictions that names the image (default: image; path in what `artquant score` wrote)",
    )
    parser.add_argument(
        "--prediction-column",
        help="column of the predicted score (default: prediction; score in what `artquant score` wrote)",
    )
    parser.add_argument(
        "--truth-image-column",
        action=Noted,
        default="image",
        help="column of a truth file that names the image (default: %(default)s)",
    )
    parser.add_argument(
        "--score-column",
        action=Noted,
        default="score",
        help="column of a truth file with the human score (default: %(default)s)",
    )
    parser.add_argument(
        "--delimiter",
        help="character between the fields of a line (default: the one in the header line: , or ; or a tab)",
    )
    parser.add_argument("--encoding", default=UTF8, help="encoding of CSV files, such as cp1252 (default: UTF-8)")
