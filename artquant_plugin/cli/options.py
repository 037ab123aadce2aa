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


def batch_size(text: str) -> int | str:
    """Read a number of images, or ``auto``, as the `type` of an option.

    Args:
        text: the value that the user wrote.

    Raises:
        argparse.ArgumentTypeError: the text is neither ``auto`` nor a whole number from 1.
    """
    return text if text == "auto" else positive(text)


def add_scoring_option(parser: Any, *, default: str | None = None) -> None:
    """Add the option ``--scoring``, whose value ends up in ``args.scoring``.

    Args:
        parser: the parser of the command, or a group of it.
        default: the preset that the command takes without it; None for what the checkpoint itself says.
    """
    without = "%(default)s" if default else "the model's own artquant.json, or the preset of a well-known Hub id"
    parser.add_argument(
        "--scoring-file",
        "--scoring",
        dest="scoring",
        default=default,
        metavar="NAME_OR_FILE",
        help="preset (artquant, deqa, q-align, …) or file that says what the model is asked and how it is read "
        f"(default: {without})",
    )


def add_loading_options(group: Any, *, scoring: str | None = None) -> None:
    """Add the options that say which checkpoint on this machine is loaded, and how.

    Args:
        group: the parser of the command, or a group of it.
        scoring: the preset that the command takes without ``--scoring``; None for what the checkpoint itself says.
    """
    add_scoring_option(group, default=scoring)
    group.add_argument(
        "--dtype",
        action=Noted,
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="type of the weights (default: %(default)s)",
    )
    group.add_argument(
        "--attn",
        action=Noted,
        default="sdpa",
        metavar="NAME",
        help="sdpa, eager, flash_attention_2, flash_attention_3, flex_attention or a kernel of the Hub such as "
        "kernels-community/flash-attn2 (default: %(default)s)",
    )
    group.add_argument("--base", metavar="PATH_OR_ID", help="base model of an adapter, if not the one that it names")
    group.add_argument("--device", help="cuda, cuda:1, mps, cpu (default: a GPU where there is one)")


def add_model_options(group: Any, *, scoring: str | None = None) -> None:
    """Add the options that say how a checkpoint on this machine is loaded, and how it scores many images.

    Args:
        group: the parser of the command, or a group of it.
        scoring: the preset that the command takes without ``--scoring``; None for what the checkpoint itself says.
    """
    add_loading_options(group, scoring=scoring)
    group.add_argument(
        "--batch-size", action=Noted, type=batch_size, default="auto", help="images per forward pass, or auto"
    )
    group.add_argument(
        "--workers", type=whole_number, help="processes that prepare images (default: what suits the device)"
    )
    group.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    group.add_argument(
        "--quantization", choices=("4bit", "8bit"), help="load the weights in so many bits (default: as stored)"
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
