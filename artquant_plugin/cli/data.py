"""`artquant data`: make, import and show datasets."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add `artquant data` and its own sub-commands."""
    parser = subparsers.add_parser("data", help="make, import and show datasets", description="Datasets.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="write a set of procedural paintings with scores and descriptions",
        description="Write procedural paintings with categories, scores and three-level descriptions.",
        epilog="example: artquant data demo --seed 1 --out data/demo",
    )
    parser.add_argument("--out", type=Path, help="folder (default: artquant_demo under $ARTQUANT_DATA)")
    parser.add_argument("--seed", type=_count, default=0, help="of all paintings (default: %(default)s)")
    for split, size in (("train", 2400), ("validation", 200), ("test", 400)):
        parser.add_argument(f"--{split}", type=_count, default=size, help="number of paintings (default: %(default)s)")
    parser.add_argument("--workers", type=_positive, help="processes (default: one per core)")
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    from artquant_plugin.dataset import data_home
    from artquant_plugin.train.sources.demo import NAME, write_demo

    dataset = write_demo(
        args.out or data_home() / NAME,
        seed=args.seed,
        train=args.train,
        validation=args.validation,
        test=args.test,
        workers=args.workers,
    )
    print(dataset.folder)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
