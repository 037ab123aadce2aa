"""`artquant score`: scores of any number of images, into a file, a folder of shards, or the terminal."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.options import add_scoring_option, positive, whole_number
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import visible

if TYPE_CHECKING:
    from artquant_plugin.bulk.inputs import Inputs
    from artquant_plugin.bulk.meter import ScoreSummary
    from artquant_plugin.bulk.rows import ScoreColumns, ScoreRow, ScoringEngine

DESCRIPTION = """Score images. Each one gives a row with path, score, the probability of every level, entropy and
reason. An image that cannot be read is a row with a reason; it is counted and leaves the exit code at 0 (2 with
--strict). A rerun of the same command continues an interrupted run and does nothing for a finished one."""
INPUTS = """image, folder of images, table (.jsonl, .json, .csv, .tsv, .parquet with an image column), text file with
one path per line, webdataset archive (.tar, .tar.gz), imported dataset NAME[:SPLIT], dataset on the Hub OWNER/NAME, or
a location such as hf://datasets/OWNER/NAME/*.parquet"""
OUT = """.parquet, .csv or .jsonl file, or a folder of Parquet shards (ends with /); without it, a table is printed"""


def add_parser(subparsers: Any) -> None:
    """Add `artquant score`."""
    parser = subparsers.add_parser(
        "score",
        help="score images, folders and datasets",
        description=DESCRIPTION,
        epilog="example: artquant score paintings/ --model runs/demo --out scores.parquet",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=INPUTS)
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH_OR_ID",
        help="checkpoint; with --endpoint, the server's name of the model",
    )
    parser.add_argument("--out", help=OUT)
    parser.add_argument("--overwrite", action="store_true", help="drop what --out holds and compute it again")
    parser.add_argument("--strict", action="store_true", help="exit with 2 when an image could not be scored")
    _add_table_options(parser.add_argument_group("tables and datasets"))
    _add_model_options(parser.add_argument_group("model"))
    _add_scale_options(parser.add_argument_group("many images"))
    _add_endpoint_options(parser.add_argument_group("server with the OpenAI protocol (docs/scoring.md)"))
    parser.set_defaults(run=run)


def _add_table_options(group: Any) -> None:
    group.add_argument("--split", help="split of a dataset (default: its only one; test for an imported one)")
    group.add_argument("--image-column", default="image", help="column of paths or images (default: %(default)s)")
    group.add_argument("--id-column", help="column that names the rows (default: the image's path)")
    group.add_argument("--image-root", metavar="FOLDER", help="folder of relative paths (default: the table's own)")


def _add_model_options(group: Any) -> None:
    add_scoring_option(group)
    group.add_argument("--batch-size", type=_batch_size, default="auto", help="images per forward pass, or auto")
    group.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="type of the weights (default: %(default)s)",
    )
    group.add_argument("--attn", default="sdpa", help="sdpa, eager or flash_attention_2 (default: %(default)s)")
    group.add_argument("--base", metavar="PATH_OR_ID", help="base model of an adapter, if not the one that it names")
    group.add_argument(
        "--workers", type=whole_number, help="processes that prepare images (default: what suits the device)"
    )
    group.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    group.add_argument(
        "--quantization", choices=("4bit", "8bit"), help="load the weights in so many bits (default: as stored)"
    )
    group.add_argument("--device", help="cuda, cuda:1, mps, cpu (default: a GPU where there is one)")


def _add_scale_options(group: Any) -> None:
    group.add_argument(
        "--shard-size", type=positive, default=10_000, help="rows per shard of a folder (default: %(default)s)"
    )
    group.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="ray spreads shards over a Ray cluster ([ray] extra)",
    )
    group.add_argument("--actors", type=positive, help="scorers on the cluster (default: one per GPU, else one)")


def _add_endpoint_options(group: Any) -> None:
    group.add_argument("--endpoint", metavar="URL", help="score through this server, such as http://localhost:8000/v1")
    group.add_argument(
        "--prompt",
        default="prefill",
        choices=("prefill", "word"),
        help="begin the assistant's answer, as in training, or ask for one level word (default: %(default)s)",
    )
    group.add_argument("--concurrency", type=positive, default=16, help="requests at once (default: %(default)s)")
    group.add_argument(
        "--min-level-mass",
        type=float,
        default=0.1,
        help="least probability of the level words together; below it a row has no score (default: %(default)s)",
    )
    group.add_argument("--level-tokens", metavar="A,B,…", help="first token of each level word, best level first")
    group.add_argument("--extra-body", metavar="JSON", help="further fields of every request")


def run(args: argparse.Namespace) -> None:
    """Score, then print counts and where the results are."""
    from artquant_plugin.bulk.inputs import find_inputs
    from artquant_plugin.bulk.manifests import ImageColumns
    from artquant_plugin.bulk.output_file import check_output, is_folder

    out = check_output(args.out) if args.out else None
    rank, world = _rank()
    if world > 1 and not (args.out and is_folder(args.out)):
        raise ArtQuantError(f"{world} processes write shards, not one file; pass --out FOLDER/")
    if args.engine == "ray":
        if not (args.out and is_folder(args.out)):
            raise ArtQuantError("--engine ray writes shards, not one file; pass --out FOLDER/")
        if world > 1:
            raise ArtQuantError(f"--engine ray runs from one process, here are {world}; start it without a launcher")
    columns = ImageColumns(args.image_column, args.id_column, args.image_root)
    inputs = find_inputs(args.inputs, split=args.split, columns=columns)
    engine = _engine(args, world)
    if out is None:
        from artquant_plugin.bulk.rows import score_rows

        _print_table(engine.columns, score_rows(engine, inputs.images()), inputs, strict=args.strict)
        return
    if not is_folder(args.out):
        from artquant_plugin.bulk.output_file import score_to_file

        summary = score_to_file(inputs, engine, out, overwrite=args.overwrite)
    elif args.engine == "ray":
        from artquant_plugin.bulk.ray import score_on_ray

        summary = score_on_ray(
            inputs, engine, out, shard_size=args.shard_size, actors=args.actors, overwrite=args.overwrite
        )
    else:
        from artquant_plugin.bulk.shards import Share, score_to_folder

        summary = score_to_folder(
            inputs,
            engine,
            out,
            shard_size=args.shard_size,
            share=Share(rank, world),
            overwrite=args.overwrite,
            show=rank == 0,
        )
    _print_summary(summary, inputs if rank == 0 else None, out, f"rank {rank}: " if world > 1 else "")
    _check_strict(summary.rows, summary.failed, strict=args.strict)


def _rank() -> tuple[int, int]:
    """Rank and number of processes, as torchrun and `accelerate launch` tell them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _engine(args: argparse.Namespace, world: int) -> "ScoringEngine":
    if args.endpoint:
        if args.engine == "ray":
            raise ArtQuantError("--endpoint and --engine ray exclude each other; a server needs no cluster here")
        return _endpoint_engine(args)
    from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine

    device = args.device
    if device is None and world > 1:
        from artquant_plugin.common.device import default_device

        if default_device() == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return CheckpointEngine(
        args.model,
        scoring=args.scoring,
        dtype=args.dtype,
        attn=args.attn,
        device=device,
        base=args.base,
        batch_size=args.batch_size,
        workers=args.workers,
        compile=args.compile,
        quantization=args.quantization,
    )


def _endpoint_engine(args: argparse.Namespace) -> "ScoringEngine":
    from artquant_plugin.bulk.endpoint import KEY_VARIABLE, EndpointEngine
    from artquant_plugin.checkpoint import choose_scoring

    folder = expanded(args.model)
    spec = choose_scoring(args.scoring, args.model, folder if folder.is_dir() else None)
    extra = None
    if args.extra_body:
        try:
            extra = json.loads(args.extra_body)
        except ValueError as error:
            raise ArtQuantError(f"--extra-body is not JSON ({error}); quote it for the shell") from error
        if not isinstance(extra, dict):
            raise ArtQuantError(f"--extra-body is {type(extra).__name__}, not an object; pass '{{\"field\": value}}'")
    return EndpointEngine(
        args.endpoint,
        args.model,
        spec,
        ask=args.prompt,
        tokens=tuple(args.level_tokens.split(",")) if args.level_tokens else None,
        concurrency=args.concurrency,
        min_mass=args.min_level_mass,
        extra_body=extra,
        key=os.environ.get(KEY_VARIABLE),
    )


def _print_table(columns: "ScoreColumns", rows: Iterable["ScoreRow"], inputs: "Inputs", *, strict: bool) -> None:
    """Print each row as it is computed. The path is the last column, since the longest path is not known yet."""
    widths = [max(len(name), 6) for name in columns.numbers]
    print("  ".join([*(name.rjust(width) for name, width in zip(columns.numbers, widths, strict=True)), "path"]))
    total = failed = 0
    for row in rows:
        total += 1
        failed += row["reason"] is not None
        cells = ["-" if row[name] is None else f"{row[name]:.3f}" for name in columns.numbers]
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        reason = f"  ({row['reason']})" if row["reason"] else ""
        print(visible("  ".join([*aligned, row["path"]]) + reason), flush=True)
    if passed_over := inputs.passed_over():
        print(passed_over, file=sys.stderr)
    print(f"scored {total - failed:,}, failed {failed:,}", file=sys.stderr)
    _check_strict(total, failed, strict=strict)


def _print_summary(summary: "ScoreSummary", inputs: "Inputs | None", out: Path, prefix: str) -> None:
    """Print the counts first, then the other lines of the summary and the output's path.

    Args:
        summary: the summary of the finished command.
        inputs: the inputs, which tell how many of their files are no pictures; None where another process prints that.
        out: the file or folder that was written.
        prefix: the beginning of every line, which names the process where there are several.
    """
    counts, *others = summary.lines()
    passed_over = inputs.passed_over() if inputs and not summary.finished else ""
    for line in [counts, *filter(None, [passed_over]), *others, str(out)]:
        print(visible(f"{prefix}{line}"))


def _check_strict(rows: int, failed: int, *, strict: bool) -> None:
    if strict and failed:
        raise ArtQuantError(f"{failed:,} of {rows:,} images have no score; the column reason says why (--strict)")


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else positive(text)
