"""`artquant rad`: descriptions on three levels, generated, judged and refined."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from artquant_plugin.cli import rad_export, rad_report
from artquant_plugin.cli.options import add_overrides


def add_parser(subparsers: Any) -> None:
    """Add `artquant rad` and its own sub-commands."""
    parser = subparsers.add_parser(
        "rad",
        help="describe a dataset's paintings through language models, as the paper's RAD dataset was made",
        description="Hierarchical aesthetic descriptions: generated from image and score, judged, refined.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)


def _add_generate(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="describe the paintings that have no description yet",
        description="Ask the generator for descriptions and the judge whether they agree with the scores; what does "
        "not agree goes back. A run that was stopped or killed goes on with the same command. The exit code is 1 when "
        "no description was accepted, or when a side's replies cannot be used.",
        epilog="example: artquant rad generate --data apdd --config configs/rad.yaml --out runs/rad-apdd --limit 20",
    )
    parser.add_argument("--data", required=True, metavar="NAME_OR_FOLDER", help="dataset (`artquant data import`)")
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[Path("rad.yaml")],
        metavar="YAML",
        help="configuration, or the name of one that ships; later files go over earlier ones (default: rad.yaml)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="run directory")
    add_overrides(parser)
    parser.add_argument("--split", action="append", metavar="NAME", help="describe this split alone; may be repeated")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="describe the first N paintings alone; finished ones count"
    )
    parser.add_argument(
        "--max-cost", type=float, metavar="SUM", help="stop before the run has cost more, at the configured prices"
    )
    parser.add_argument("--retry-failed", action="store_true", help="ask again about paintings that failed")
    parser.add_argument(
        "--batch",
        action="store_true",
        help="send requests through the Batch API of each side whose configuration has `batch: true`",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show one painting's prompts and what all would cost; send nothing"
    )
    parser.set_defaults(run=_generate)


def _generate(args: argparse.Namespace) -> int:
    from artquant_plugin.common.config import read_config
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.train.rad.config import RadConfig
    from artquant_plugin.train.rad.plan import check_options, plan

    planned = plan(args.data, read_config(RadConfig, args.config, args.overrides))
    if args.dry_run:
        from artquant_plugin.train.rad.status import preview

        check_options(planned, args.split, args.limit, args.max_cost)
        for line in preview(planned, splits=args.split, limit=args.limit, batch=args.batch):
            print(line)
        return 0
    if args.out is None:
        raise ArtQuantError("--out is missing; name the run directory, or pass --dry-run")
    from artquant_plugin.train.rad.limits import RepliesUnusable
    from artquant_plugin.train.rad.run import generate

    try:
        summary = generate(
            planned,
            args.out,
            splits=args.split,
            limit=args.limit,
            max_cost=args.max_cost,
            retry_failed=args.retry_failed,
            batch=args.batch,
            say=partial(print, file=sys.stderr, flush=True),
        )
    except RepliesUnusable as error:
        print(f"artquant: error: {error}", file=sys.stderr)
        return 1
    for line in summary.lines():
        print(line)
    if summary.interrupted:
        raise KeyboardInterrupt
    return 1 if summary.fruitless else 0


def _add_status(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="counts, rounds, cost, rate and time left of a run, while it works or afterwards",
        description="Show how far a run is.",
        epilog="example: artquant rad status runs/rad-apdd",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run directory")
    parser.set_defaults(run=_status)


def _status(args: argparse.Namespace) -> None:
    from artquant_plugin.train.rad.status import status_lines

    for line in status_lines(args.folder):
        print(line)


COMMANDS = (_add_generate, _add_status, rad_export.add_parser, rad_report.add_parser)
