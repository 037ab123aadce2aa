"""`artquant describe`: describe images with a checkpoint, on the three levels of the paper."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.idle_options import IdleOptions, add_idle_options
from artquant_plugin.cli.options import add_loading_options
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import visible

if TYPE_CHECKING:
    from artquant_plugin.bulk.images import NamedImage


def add_parser(subparsers: Any) -> None:
    """Add the parser of `artquant describe` to those of the other commands."""
    parser = subparsers.add_parser(
        "describe",
        help="describe images on three levels: perception, cognition, emotion",
        description="Describe images with the question that the checkpoint was trained with. An image that cannot be "
        "read has a reason instead, is counted, and leaves the exit code at 0 (2 with --strict).",
        epilog="example: artquant describe painting.jpg --model runs/demo",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="images, folders, datasets and lists, as for `artquant score`"
    )
    parser.add_argument("--model", required=True, metavar="PATH_OR_ID", help="checkpoint")
    add_loading_options(parser)
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="write JSON lines instead of printing text")
    parser.add_argument("--overwrite", action="store_true", help="replace --out")
    parser.add_argument("--strict", action="store_true", help="exit with 2 when an image could not be described")
    parser.add_argument("--split", help="split of a dataset (default: its only one; test for an imported one)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=512, help="longest description, in tokens (default: %(default)s)"
    )
    parser.add_argument("--batch-size", default="auto", help="images at once, or auto (default: %(default)s)")
    parser.set_defaults(run=run)
    add_idle_options(parser, IdleOptions(("--overwrite",), lambda args: not args.out, "without --out", "pass --out"))


def run(args: argparse.Namespace) -> None:
    """Describe the images, and print the descriptions or write them to a file."""
    from artquant_plugin.bulk.inputs import find_inputs

    if args.max_new_tokens < 1:
        raise ArtQuantError(f"--max-new-tokens {args.max_new_tokens} is not positive; leave it out for 512")
    if args.out and args.out.suffix != ".jsonl":
        raise ArtQuantError(f"--out '{args.out}' does not end with .jsonl; descriptions are written as JSON lines")
    if args.out and args.out.exists() and not args.overwrite:
        from artquant_plugin.bulk.output_file import refuse_described

        refuse_described(args.out)
    inputs = find_inputs(args.inputs, split=args.split)
    from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine
    from artquant_plugin.bulk.rows import describe_rows

    engine = CheckpointEngine(
        args.model,
        scoring=args.scoring,
        base=args.base,
        dtype=args.dtype,
        attn=args.attn,
        device=args.device,
        batch_size=args.batch_size,
    )

    def rows_of(images: Iterable["NamedImage"]) -> Iterator[dict[str, Any]]:
        return describe_rows(engine.scorer, images, max_new_tokens=args.max_new_tokens)

    counts = {True: 0, False: 0}  # by whether an image has a description
    if args.out:
        from artquant_plugin.bulk.output_file import describe_to_file, made_from

        now = made_from(inputs, engine, {"max_new_tokens": args.max_new_tokens})
        summary = describe_to_file(inputs, rows_of, now, args.out, overwrite=args.overwrite)
        counts = {True: summary.rows - summary.failed, False: summary.failed}
        print(f"described {counts[True]:,}, failed {counts[False]:,}")
        if passed_over := inputs.passed_over():
            print(passed_over)
        print(args.out)
    else:
        for row in rows_of(inputs.images()):
            counts[row["reason"] is None] += 1
            text = visible(row["text"] if row["reason"] is None else row["reason"], keep="\n\t")
            print(f"{visible(row['path'])}\n{text}\n", flush=True)
    if args.strict and counts[False]:
        total = sum(counts.values())
        raise ArtQuantError(f"{counts[False]:,} of {total:,} images have no description; see the reasons (--strict)")
