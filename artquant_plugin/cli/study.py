"""`artquant study`: the paper's experiments as grids of runs, with tables, figures and one sentence each."""

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

from artquant_plugin.cli.options import add_overrides
from artquant_plugin.common.errors import ArtQuantError


def add_parser(subparsers: Any) -> None:
    """Add `artquant study`."""
    parser = subparsers.add_parser(
        "study",
        help="repeat the paper's experiments: plan the runs, carry out what is missing, draw",
        description=(
            "Carry out a study: a grid of trainings over seeds, of which finished ones are never repeated, then a "
            "table, a figure, and one sentence about the paper's claim."
        ),
        epilog="example: artquant study labels configs/studies/demo.yaml --dry-run",
    )
    parser.add_argument(
        "study", help="hierarchy, mat, labels, sufficiency, generation, transfer, or all of them with `all`"
    )
    parser.add_argument(
        "config",
        type=Path,
        nargs="*",
        help="YAML file, or the name of one that ships; later ones go over earlier ones",
    )
    parser.add_argument("--config", dest="more", type=Path, action="append", default=[], help="the same, as an option")
    add_overrides(parser)
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N", help="carry out the I-th of N shares of the runs, from 1/N to N/N"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray gives each run to a process of a Ray cluster ([ray] extra) (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and print the runs and the room on the disk"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Carry out the studies and say where the results are."""
    files = [*args.config, *args.more]
    if not files:
        raise ArtQuantError("no configuration of studies is named; pass configs/studies/demo.yaml or one of your own")
    if args.shard and args.engine == "ray":
        raise ArtQuantError("--shard and --engine ray exclude each other, since Ray spreads the runs; leave one out")
    from artquant_plugin.bulk.shards import Share
    from artquant_plugin.train.studies.config import load_studies
    from artquant_plugin.train.studies.registry import chosen_studies
    from artquant_plugin.train.studies.run import run_studies

    studies = chosen_studies(args.study)
    config = load_studies(files, args.overrides)
    share = None if args.shard is None else Share(args.shard[0] - 1, args.shard[1])
    written = run_studies(
        studies, config, say=partial(print, flush=True), share=share, engine=args.engine, dry_run=args.dry_run
    )
    for path in written:
        print(path)


def _shard(text: str) -> tuple[int, int]:
    """Read a share such as 2/8, as the `type` of an option."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share I/N with I from 1 to N, such as 1/4")
    return int(found[1]), int(found[2])
