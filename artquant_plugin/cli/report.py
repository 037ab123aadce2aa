"""`artquant report` shows any number of results as static pages, and as tables for papers."""

import argparse
from pathlib import Path
from typing import Any

from artquant_plugin.cli.board_options import SOURCE_HELP, SOURCE_METAVAR, add_source_options, read_boards_of
from artquant_plugin.cli.idle_options import IdleOptions, Noted, add_idle_options
from artquant_plugin.cli.options import NO_TRUTH_FILE, positive


def add_parser(subparsers: Any) -> None:
    """Add `artquant report`."""
    parser = subparsers.add_parser(
        "report",
        help="leaderboard, comparisons and pictures of any number of results as a web page or as tables",
        description=(
            "Put lmms-eval's output folders and prediction files side by side. --out writes a page that opens from "
            "the disk, with the tables as Markdown, CSV and LaTeX beside it; without it, tables are printed."
        ),
        epilog="example: artquant report results/ SAAN=saan.csv@baid --out site/",
    )
    parser.add_argument("sources", nargs="+", metavar=SOURCE_METAVAR, help=SOURCE_HELP)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the page; a page in it is replaced")
    parser.add_argument(
        "--title", action=Noted, default="Painting aesthetics", help="title of the page (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=positive, help="number of processes that make thumbnails (default: one per core)"
    )
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder with pictures of paintings that are in no imported dataset; may be repeated",
    )
    add_source_options(parser, ("text", "markdown", "csv", "latex", "json"))
    parser.set_defaults(run=run)
    no_page = IdleOptions(
        ("--title", "--workers", "--images"),
        lambda args: not args.out,
        "without --out",
        "pass --out FOLDER for a page",
    )
    add_idle_options(parser, NO_TRUTH_FILE, no_page)


def run(args: argparse.Namespace) -> None:
    """Read the boards, compute their figures, and write the pages or print the tables."""
    from artquant_plugin.common.paths import expanded
    from artquant_plugin.common.text import visible
    from artquant_plugin.metrics.agreement import RESAMPLES
    from artquant_plugin.report.analysis import analyse
    from artquant_plugin.report.board_tables import tables
    from artquant_plugin.report.table_formats import FORMATS

    resamples = args.resamples or RESAMPLES
    boards = read_boards_of(args.sources, args, images=[expanded(folder) for folder in args.images])
    analyses = [analyse(board, resamples=resamples, pair_resamples=args.resamples, seed=args.seed) for board in boards]
    if args.format or not args.out:
        show = FORMATS[args.format or "text"]
        print("\n\n".join(show(table) for analysis in analyses for table in tables(analysis)))
    if args.out:
        from artquant_plugin.report.site.build import build_site

        for line in build_site(args.out, analyses, title=args.title, seed=args.seed, workers=args.workers):
            print(visible(line))
