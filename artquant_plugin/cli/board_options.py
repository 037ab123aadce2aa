"""Options of the commands that compare models, and the boards that they read."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.options import add_column_options
from artquant_plugin.common.errors import ArtQuantError

if TYPE_CHECKING:
    from artquant_plugin.report.boards import Board

SOURCE_METAVAR = "[NAME=]PATH[@DATASET]"
SOURCE_HELP = (
    "a folder that lmms-eval's --output_path named, or a CSV file with a prediction per image; NAME= renames the "
    "model, @DATASET says what a CSV file is of"
)


def add_source_options(parser: Any) -> None:
    """Add the options that `read_boards_of` needs besides the sources.

    Args:
        parser: the parser of the command.
    """
    parser.add_argument(
        "--task",
        metavar="DATASET",
        help="read only the runs on this dataset, and take CSV files to be of it: apdd, baid, vaps or one of your own",
    )
    parser.add_argument(
        "--truth",
        metavar="FILE|DATASET[:SPLIT]",
        help="human scores for CSV files (default: the runs' own, or the dataset's test split)",
    )
    add_column_options(parser)
    parser.add_argument(
        "--resamples",
        type=int,
        metavar="R",
        help="number of bootstrap resamples, at least 2,000 (default: 2,000, or more where many pairs are compared)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: %(default)s)")


def read_boards_of(sources: Sequence[str], args: argparse.Namespace, *, images: Sequence[Path] = ()) -> "list[Board]":
    """Read the boards of all sources, one per dataset.

    Args:
        sources: the sources as the user wrote them, ``[NAME=]PATH[@DATASET]``.
        args: the command line, with the options of `add_source_options`.
        images: folders with pictures of paintings that are in no imported dataset.

    Raises:
        ArtQuantError: the value of an option is out of range, or a source cannot be read.
    """
    from artquant_plugin.metrics.agreement import RESAMPLES
    from artquant_plugin.report.boards import read_boards
    from artquant_plugin.report.model_predictions import PredictionColumns
    from artquant_plugin.report.prediction_sources import parse_prediction_source

    if args.seed < 0:
        raise ArtQuantError(f"--seed {args.seed} is negative; pass a whole number from 0, or leave it out")
    if args.resamples is not None and args.resamples < RESAMPLES:
        raise ArtQuantError(
            f"--resamples {args.resamples} is too few for the tests; pass {RESAMPLES} or more, or leave it out"
        )
    columns = PredictionColumns(
        image=args.image_column,
        prediction=args.prediction_column,
        truth=args.truth,
        truth_image=args.truth_image_column,
        score=args.score_column,
        delimiter=args.delimiter,
        encoding=args.encoding,
    )
    return read_boards(
        [parse_prediction_source(source) for source in sources], columns, dataset=args.task, images=images
    )
