"""`artquant train`: from a configuration to a checkpoint."""

import argparse
import os
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from artquant_plugin.cli.options import add_overrides
from artquant_plugin.common.errors import ArtQuantError

EXAMPLE = "example: artquant train configs/demo.yaml --set train.learning_rate=1e-3"


def add_parser(subparsers: Any) -> None:
    """Add `artquant train`."""
    parser = subparsers.add_parser(
        "train",
        help="train a checkpoint from a configuration",
        description="Train the stages of a configuration, one after the other, and write one checkpoint.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "config",
        type=Path,
        nargs="+",
        help="YAML file, or the name of one that ships (demo.yaml); later files go over earlier ones",
    )
    add_overrides(parser)
    parser.add_argument(
        "--push-to-hub",
        metavar="NAMESPACE/NAME",
        help="put each checkpoint on the Hub as it is written, short for --set train.push_to_hub=NAMESPACE/NAME",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--resume", action="store_true", help="go on where a run of this configuration ended")
    choice.add_argument(
        "--overwrite", action="store_true", help="begin anew although the output holds a run or a finished checkpoint"
    )
    choice.add_argument(
        "--dry-run", action="store_true", help="check everything and show what is trained on; train nothing"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train and say where the checkpoint is and how to evaluate it."""
    if args.push_to_hub:
        args.overrides.append(f"train.push_to_hub={args.push_to_hub}")
    if not args.resume:  # with --resume, a finished run is left as it is, which needs no data
        _find_datasets(args)
    from artquant_plugin.train.config import load_config
    from artquant_plugin.train.run import StoppedRun, dry_run, train

    config = load_config(args.config, args.overrides)

    if args.dry_run:
        dry_run(config, print)
        return
    result = train(config, overwrite=args.overwrite, resume=args.resume, say=partial(print, flush=True))
    if int(os.environ.get("RANK", "0")):
        return  # the first process speaks for all
    if isinstance(result, StoppedRun):
        where = f"{result.checkpoint} is written" if result.checkpoint else f"stage {result.stage} was not begun"
        print(f"stopped as asked, {where}; go on with")
        print(f"  {_resume_command(args)}")
        return
    for line in result.lines():
        print(line)


def _find_datasets(args: argparse.Namespace) -> None:
    """See that the datasets are there, before the seconds that the trainer's imports take.

    What is wrong with the configuration is told before a dataset that is missing.
    """
    from artquant_plugin.data.find import find_dataset
    from artquant_plugin.train.sections import ORDINARY_TRAIN_KEYS, read_sections

    sections, train_keys = read_sections(args.config, args.overrides)
    try:
        for section in sections.data:
            find_dataset(section.name)
    except ArtQuantError:
        if train_keys - ORDINARY_TRAIN_KEYS:
            from artquant_plugin.train.config import load_config

            load_config(args.config, args.overrides)
        raise


def _resume_command(args: argparse.Namespace) -> str:
    """The command that resumes the run.

    Under `torchrun` or `accelerate launch`, the word LAUNCHER stands for the launcher and its own options.
    """
    files = [str(path) for path in args.config]
    overrides = [part for override in args.overrides for part in ("--set", override)]
    start = ["LAUNCHER", "-m", "artquant_plugin.train"] if "RANK" in os.environ else ["artquant", "train"]
    return shlex.join([*start, *files, *overrides, "--resume"])
