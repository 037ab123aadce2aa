"""`artquant train`: from a configuration to a checkpoint."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "example: artquant train configs/demo.yaml --set train.learning_rate=1e-3"


def add_parser(subparsers: Any) -> None:
    """Add `artquant train`."""
    parser = subparsers.add_parser(
        "train",
        help="train a checkpoint from a configuration",
        description="Train the stages of a configuration, one after the other, and write one checkpoint.",
        epilog=EXAMPLE,
    )
    parser.add_argument("config", type=Path, help="YAML file, or the name of one that ships (demo.yaml)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the configuration, section.key=value; may be repeated",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="train again although the output holds a finished checkpoint"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train and say where the checkpoint is and how to evaluate it."""
    from artquant_plugin.train.config import load_config

    config = load_config(args.config, args.overrides)
    from artquant_plugin.train.run import train

    summary = train(config, overwrite=args.overwrite)
    for line in summary.lines():
        print(line)
