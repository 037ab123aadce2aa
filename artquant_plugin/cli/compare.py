"""`artquant compare` tells whether one model is better than another on the same images."""

import argparse
from typing import Any

from artquant_plugin.cli.board_options import SOURCE_HELP, SOURCE_METAVAR, add_source_options, read_boards_of
from artquant_plugin.cli.idle_options import add_idle_options
from artquant_plugin.cli.options import NO_TRUTH_FILE


def add_parser(subparsers: Any) -> None:
    """Add `artquant compare`."""
    parser = subparsers.add_parser(
        "compare",
        help="differences between models on the same images, with intervals and tests",
        description=(
            "Compare two models or more on the images that both of a pair scored: paired bootstrap of the differences "
            "of SROCC and PLCC, corrected over all pairs, with Steiger's and Zou's closed forms as a cross-check."
        ),
        epilog="example: artquant compare results/gpt-4o SAAN=saan.csv --task baid",
    )
    parser.add_argument("models", nargs="+", metavar=SOURCE_METAVAR, help=SOURCE_HELP)
    add_source_options(parser, ("text", "markdown", "csv", "latex", "json"))
    parser.set_defaults(run=run)
    add_idle_options(parser, NO_TRUTH_FILE)


def run(args: argparse.Namespace) -> None:
    """Read the board, compare its models, and print the comparisons."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.common.text import visible
    from artquant_plugin.metrics.pairwise_comparisons import compare_models
    from artquant_plugin.report.analysis import cautions
    from artquant_plugin.report.board_tables import comparison_text, comparisons_table
    from artquant_plugin.report.table_formats import FORMATS

    boards = read_boards_of(args.models, args)
    if len(boards) > 1:
        datasets = ", ".join(board.dataset for board in boards)
        raise ArtQuantError(f"the models were run on {len(boards)} datasets ({datasets}); choose one with --task")
    (board,) = boards
    names = [model.name for model in board.models]
    if len(names) < 2:
        raise ArtQuantError(
            f"there is one model on {board.dataset}, {names[0]!r}; name another one to compare it with"
        )
    comparisons = compare_models(names, board.matrix(), board.truth, resamples=args.resamples, seed=args.seed)
    if args.format in (None, "text"):
        parts = [comparison_text(board.dataset, comparison, len(comparisons)) for comparison in comparisons]
        print(visible("\n\n".join([*parts, "\n".join(cautions(board))]).rstrip(), keep="\n"))
    else:
        print(FORMATS[args.format](comparisons_table(board.dataset, comparisons, cautions(board))))
