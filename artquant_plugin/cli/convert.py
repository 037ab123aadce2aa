"""`artquant convert`: turn a checkpoint of the paper's code into one that `from_pretrained` loads."""

import argparse
from pathlib import Path
from typing import Any

from artquant_plugin.cli.options import add_scoring_option


def add_parser(subparsers: Any) -> None:
    """Add the parser of `artquant convert` to those of the other commands."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a checkpoint of the paper's own code into a transformers folder",
        description=(
            "Read an mPLUG-Owl2 base model, or an ArtQuant LoRA folder and its base, merge it, and write safetensors, "
            "processor and scoring file. Nothing is rounded."
        ),
        epilog="example: artquant convert Liuuuu123/ArtQuant runs/artquant --base MAGAer13/mplug-owl2-llama2-7b",
    )
    parser.add_argument("source", help="folder or Hub id[@revision] of the checkpoint")
    parser.add_argument("destination", type=Path, help="folder to write, which must not exist")
    parser.add_argument(
        "--base",
        help="folder or Hub id[@revision] of a LoRA folder's base model (default: the one that its adapter names)",
    )
    add_scoring_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Convert the checkpoint, and print how to score with the result."""
    from artquant_plugin.checkpoint import choose_scoring, locate_original
    from artquant_plugin.checkpoint.original import convert

    source, base = locate_original(args.source, args.base)
    spec = choose_scoring(args.scoring, args.source, source)
    original = convert(source, args.destination, base, spec)
    print(f"{len(original.weights)} tensors of {args.source} in {args.destination}; score with")
    print(f"  artquant score IMAGES --model {args.destination}")
