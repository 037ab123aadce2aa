"""`artquant results` shows the runs in lmms-eval's output folders as a table and a plot."""

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artquant_plugin.cli.idle_options import Noted, add_idle_options
from artquant_plugin.cli.options import NO_INTERVALS


def add_parser(subparsers: Any) -> None:
    """Add `artquant results`."""
    parser = subparsers.add_parser(
        "results",
        help="table and scatter plot of lmms-eval's output folders",
        description="Read the samples that lmms-eval logged; print counts, SROCC and PLCC with intervals per run.",
        epilog="example: artquant results results/ --plot results/scatter.png",
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders that lmms-eval's --output_path named")
    parser.add_argument(
        "--resamples",
        type=int,
        default=2000,
        help="number of bootstrap resamples; 0 leaves the intervals out (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", action=Noted, type=int, default=0, help="seed of the bootstrap (default: %(default)s)"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help="draw predicted against human scores (of one run only)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.set_defaults(run=run)
    add_idle_options(parser, NO_INTERVALS)


def run(args: argparse.Namespace) -> None:
    """Read the runs, evaluate them, and print or plot the result."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.common.json_text import printable_json
    from artquant_plugin.common.text import visible
    from artquant_plugin.report.results_table import markdown_table, row_of, text_table
    from artquant_plugin.report.task_runs import read_runs

    if args.resamples < 0 or args.seed < 0:
        raise ArtQuantError(
            f"--resamples {args.resamples} and --seed {args.seed} must not be negative; leave them out for 2000 and 0"
        )
    runs = read_runs(args.folders)
    rows = [row_of(found, resamples=args.resamples, seed=args.seed) for found in runs]
    if args.plot:
        if len(runs) != 1 or rows[0].scores is None:
            raise ArtQuantError(f"--plot draws one run, here are {len(runs)}; name the folder of one with scores")
        from artquant_plugin.report.scatter import draw_scatter

        title = f"{runs[0].model} on {runs[0].task}"
        draw_scatter(args.plot, runs[0].predictions, runs[0].truths, title=title, agreement=rows[0].scores)
    if args.json:
        print(printable_json([_finite(asdict(row)) for row in rows], indent=2))
        return
    print(markdown_table(rows) if args.markdown else text_table(rows))
    for found, row in zip(runs, rows, strict=True):
        if found.from_range:
            print(visible(f"{found.model} on {found.task}: {found.from_range} scores are the mid-point of a range"))
        for caution in row.scores.cautions if row.scores else ():
            print(visible(f"{found.model} on {found.task}: {caution}"))
        if found.older:
            print(visible(f"{found.model} on {found.task}: {found.older} older runs passed over, {found.date} shown"))
    if args.plot:
        print(visible(f"plot: {args.plot}"))


def _finite(value: Any) -> Any:
    """The same content with None for NaN and infinite numbers, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
