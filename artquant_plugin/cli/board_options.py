"""Options of the commands that read output folders and prediction files."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artquant_plugin.common.errors import ArtQuantError

if TYPE_CHECKING:
    from artquant_plugin.report.boards import Board

SOURCE = "[NAME=]PATH[@DATASET]"
EXPLAINED = (
    "a folder that lmms-eval's --output_path named, or a CSV file with a prediction per image; NAME= renames the "
    "model, @DATASET says what a CSV file is of"
)


def add_source_options(parser: Any, formats: Sequence[str]) -> None:
    """Add what `read` and `analyses` need beside the sources themselves."""
    parser.add_argument("--task", metavar="DATASET", help="only this dataset, and that of CSV files: apdd, baid, vaps")
    parser.add_argument(
        "--truth",
        metavar="FILE|DATASET[:SPLIT]",
        help="human scores for CSV files (default: the runs' own, or the dataset's test split)",
    )
    parser.add_argument("--image-column", default="image", help="of the CSV files (default: %(default)s)")
    parser.add_argument("--prediction-column", default="prediction", help="(default: %(default)s)")
    parser.add_argument("--truth-image-column", default="image", help="of a truth file (default: %(default)s)")
    parser.add_argument("--score-column", default="score", help="of a truth file (default: %(default)s)")
    parser.add_argument(
        "--resamples",
        type=int,
        metavar="R",
        help="of the bootstrap, 2,000 or more (default: 2,000; for many pairs, what their correction needs)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--format", choices=tuple(formats), help="of printed tables (default: text)")


def read(sources: Sequence[str], args: argparse.Namespace) -> "list[Board]":
    """The boards of all sources.

    Raises:
        ArtQuantError: a source, or an option's value, is wrong.
    """
    from artquant_plugin.metrics.agreement import RESAMPLES
    from artquant_plugin.report.boards import read_boards
    from artquant_plugin.report.model_predictions import PredictionColumns
    from artquant_plugin.report.prediction_sources import parse_prediction_source

    if args.seed < 0 or (args.resamples is not None and args.resamples < RESAMPLES):
        raise ArtQuantError(
            f"--seed must not be negative, and --resamples must be {RESAMPLES} or more; leave them out"
        )
    columns = PredictionColumns(
        image=args.image_column,
        prediction=args.prediction_column,
        truth=args.truth,
        truth_image=args.truth_image_column,
        score=args.score_column,
    )
    return read_boards([parse_prediction_source(source) for source in sources], columns, dataset=args.task)
