"""`artquant score`: scores of any number of images, into a file, a folder of shards, or the terminal."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.idle_options import IdleOptions, Noted, add_idle_options, is_given
from artquant_plugin.cli.options import add_model_options, positive
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.json_text import printable_json
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import visible

if TYPE_CHECKING:
    from artquant_plugin.bulk.inputs import Inputs
    from artquant_plugin.bulk.meter import ScoreSummary
    from artquant_plugin.bulk.ranking import Ranking
    from artquant_plugin.bulk.rows import ScoreColumns, ScoreRow, ScoringEngine

DESCRIPTION = """Score images. Each one gives a row with path, score, the probability of every level, entropy and
reason. An image that cannot be read is a row with a reason; it is counted and leaves the exit code at 0 (2 with
--strict). A rerun of the same command continues an interrupted run and does nothing for a finished one."""
INPUTS = """image, folder of images, table (.jsonl, .json, .csv, .tsv, .parquet with an image column), text file with
one path per line, webdataset archive (.tar, .tar.gz), imported dataset NAME[:SPLIT], dataset on the Hub OWNER/NAME, or
a location such as hf://datasets/OWNER/NAME/*.parquet"""
OUT = """.parquet, .csv or .jsonl file, or a folder of Parquet shards (ends with /); without it, a table is printed"""

ALL = ""  # what --attributes holds where it names none: all that the checkpoint has
SHEET_PICTURES = 1000  # on a contact sheet without --top; each takes about 10 KB of the page
IDLE = (
    IdleOptions(
        ("--prompt", "--concurrency", "--min-level-mass", "--level-tokens", "--extra-body"),
        lambda args: not args.endpoint,
        "without --endpoint",
        "pass --endpoint URL to score through a server",
    ),
    IdleOptions(
        ("--attributes",),
        lambda args: args.endpoint,
        "with --endpoint, since a server is asked for the score alone",
        "score with the checkpoint on this machine",
    ),
    IdleOptions(
        ("--batch-size", "--dtype", "--attn", "--base", "--workers", "--compile", "--quantization", "--device"),
        lambda args: args.endpoint,
        "with --endpoint, whose server holds the model",
        "set it where the server is started",
    ),
    IdleOptions(
        ("--attn", "--base", "--workers", "--quantization"),
        lambda args: args.engine == "vllm" and not args.endpoint,
        "with --engine vllm, which loads and runs the model itself",
        "leave --engine out",
    ),
    IdleOptions(("--vllm-python",), lambda args: args.engine != "vllm", "without --engine vllm", "pass --engine vllm"),
    IdleOptions(("--actors",), lambda args: args.engine != "ray", "without --engine ray", "pass --engine ray"),
    IdleOptions(
        ("--shard-size",), lambda args: not _writes_shards(args), "without a folder of shards", "pass --out FOLDER/"
    ),
    IdleOptions(("--overwrite",), lambda args: not args.out, "without --out", "pass --out"),
)


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
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="compute what --out holds again, and replace it when the new one is whole",
    )
    parser.add_argument(
        "--attributes",
        nargs="?",
        const=ALL,
        metavar="A,B,…",
        help="add columns for the checkpoint's attributes: all of them, or those named",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 2 when an image could not be scored")
    _add_ranking_options(parser.add_argument_group("ranking and scripts"))
    _add_table_options(parser.add_argument_group("tables and datasets"))
    add_model_options(parser.add_argument_group("model"))
    _add_scale_options(parser.add_argument_group("many images"))
    _add_endpoint_options(parser.add_argument_group("server with the OpenAI protocol (docs/scoring.md)"))
    parser.set_defaults(run=run)
    add_idle_options(parser, *IDLE)


def _add_ranking_options(group: Any) -> None:
    group.add_argument(
        "--top", type=positive, metavar="N", help="the N best: what is printed and shown; --out keeps all"
    )
    group.add_argument("--sort", action="store_true", help="best first: rows of the same score by path, failures last")
    group.add_argument("--json", action="store_true", help="print rows as JSON lines, and everything else on stderr")
    group.add_argument(
        "--sheet",
        type=expanded,
        metavar="FILE.html",
        help="write an HTML page of the pictures, best first",
    )


def _add_table_options(group: Any) -> None:
    group.add_argument("--split", help="split of a dataset (default: its only one; test for an imported one)")
    group.add_argument(
        "--image-column", action=Noted, default="image", help="column of paths or images (default: %(default)s)"
    )
    group.add_argument("--id-column", help="column that names the rows (default: the image's path)")
    group.add_argument("--image-root", metavar="FOLDER", help="folder of relative paths (default: the table's own)")


def _add_scale_options(group: Any) -> None:
    group.add_argument(
        "--shard-size",
        action=Noted,
        type=positive,
        default=10_000,
        help="rows per shard of a folder (default: %(default)s)",
    )
    group.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray", "vllm"),
        help="ray spreads shards over a Ray cluster ([ray] extra); vllm runs the model through vLLM (docs/scoring.md)",
    )
    group.add_argument(
        "--vllm-python", metavar="PATH", help="Python of the environment that has vLLM (default: this one)"
    )
    group.add_argument("--actors", type=positive, help="scorers on the cluster (default: one per GPU, else one)")


def _add_endpoint_options(group: Any) -> None:
    group.add_argument("--endpoint", metavar="URL", help="score through this server, such as http://localhost:8000/v1")
    group.add_argument(
        "--prompt",
        action=Noted,
        default="prefill",
        choices=("prefill", "word"),
        help="begin the assistant's answer, as in training, or ask for one level word (default: %(default)s)",
    )
    group.add_argument(
        "--concurrency", action=Noted, type=positive, default=16, help="requests at once (default: %(default)s)"
    )
    group.add_argument(
        "--min-level-mass",
        action=Noted,
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
    from artquant_plugin.bulk.output_file import check_output, is_folder, read_rows
    from artquant_plugin.bulk.shards import read_shards
    from artquant_plugin.report.site.contact_sheet import sheet_writer

    out = check_output(args.out) if args.out else None
    rank, world = _rank()
    if world > 1 and not (args.out and is_folder(args.out)):
        raise ArtQuantError(f"{world} processes write shards, not one file; pass --out FOLDER/")
    if args.engine == "ray":
        if not (args.out and is_folder(args.out)):
            raise ArtQuantError("--engine ray writes shards, not one file; pass --out FOLDER/")
        if world > 1:
            raise ArtQuantError(f"--engine ray runs from one process, here are {world}; start it without a launcher")
    _check_views(args, world)
    columns = ImageColumns(args.image_column, args.id_column, args.image_root)
    inputs = find_inputs(args.inputs, split=args.split, columns=columns)
    engine = _engine(args, world)
    with sheet_writer(args.sheet) if args.sheet else nullcontext():
        if out is None:
            _without_file(args, inputs, engine)
            return
        summary = _into_files(args, inputs, engine, out, rank, world)
        lines = _summary_lines(summary, inputs if rank == 0 else None, out)
        for line in lines:
            print(visible(f"rank {rank}: {line}" if world > 1 else line), file=sys.stderr if args.json else sys.stdout)
        if args.top or args.json or args.sheet:
            rows = read_shards(out, engine.columns) if is_folder(args.out) else read_rows(out, engine.columns)
            _show(args, engine.columns, rows, inputs, print_rows=bool(args.top or args.json))
    _check_strict(summary.rows, summary.failed, strict=args.strict)


def _check_views(args: argparse.Namespace, world: int) -> None:
    """Refuse what cannot show or sort all rows."""
    given = [option for option in ("--top", "--sort", "--json", "--sheet") if is_given(args, option)]
    if given and world > 1:
        raise ArtQuantError(
            f"{given[0]} needs all rows, and each of the {world} processes has a share; leave it out, and run the "
            "same command with it and without a launcher when the shards are there"
        )
    if args.sort and _writes_shards(args):
        raise ArtQuantError("--sort orders one file, and shards keep the input's order; pass --out FILE, or --top N")


def _into_files(
    args: argparse.Namespace, inputs: "Inputs", engine: "ScoringEngine", out: Path, rank: int, world: int
) -> "ScoreSummary":
    if not _writes_shards(args):
        from artquant_plugin.bulk.output_file import score_to_file

        return score_to_file(inputs, engine, out, overwrite=args.overwrite, best_first=args.sort)
    if args.engine == "ray":
        from artquant_plugin.bulk.ray import score_on_ray

        return score_on_ray(
            inputs, engine, out, shard_size=args.shard_size, actors=args.actors, overwrite=args.overwrite
        )
    from artquant_plugin.bulk.shards import Share, score_to_folder

    return score_to_folder(
        inputs,
        engine,
        out,
        shard_size=args.shard_size,
        share=Share(rank, world),
        overwrite=args.overwrite,
        show=rank == 0,
    )


def _without_file(args: argparse.Namespace, inputs: "Inputs", engine: "ScoringEngine") -> None:
    """Score, and print the rows: as they come, or best first at the end."""
    from artquant_plugin.bulk.meter import ScoreMeter
    from artquant_plugin.bulk.rows import score_rows

    # Rows on a terminal are the progress themselves.
    waiting = bool(args.top or args.sort) or not sys.stdout.isatty()
    meter = ScoreMeter(inputs.count() if waiting else None, show=waiting)

    def counted() -> Iterator["ScoreRow"]:
        for row in score_rows(engine, inputs.images()):
            meter.row(row)
            yield row

    _show(args, engine.columns, counted(), inputs, print_rows=True, end=meter.close)
    summary = meter.summary
    counts, *others = summary.lines()
    for line in [inputs.passed_over(), counts, *(others if args.top else [])]:
        if line:
            print(visible(line), file=sys.stderr)
    _check_strict(summary.rows, summary.failed, strict=args.strict)


def _show(
    args: argparse.Namespace,
    columns: "ScoreColumns",
    rows: Iterable["ScoreRow"],
    inputs: "Inputs",
    *,
    print_rows: bool,
    end: Callable[[], object] = lambda: None,
) -> None:
    """Print rows and write the contact sheet, as the options ask.

    Args:
        args: the parsed command line of `artquant score`.
        columns: the columns of the rows.
        rows: all rows of the run, in the order of the input; a long run may compute them while they are taken.
        inputs: where the pictures of the sheet are found.
        print_rows: whether anything is to be printed.
        end: called when the last row was taken, before ranked rows are printed.
    """
    from artquant_plugin.bulk.ranking import Ranking

    ranked = bool(args.top or args.sort)
    limit = None if args.sort and not args.top else args.top or SHEET_PICTURES
    ranking = Ranking(limit)
    table = _JsonLines(columns) if args.json else _Table(columns)
    if print_rows and not ranked:
        table.begin()
    for row in rows:
        if ranked or args.sheet:
            ranking.add(row)
        if print_rows and not ranked:
            table.row(row)
    end()
    if print_rows and ranked:
        table.begin()
        for row in ranking.best() + ([] if args.top else ranking.failures()):
            table.row(row)
    if args.sheet:
        _write_sheet(args, columns, ranking, inputs)


def _write_sheet(args: argparse.Namespace, columns: "ScoreColumns", ranking: "Ranking", inputs: "Inputs") -> None:
    from artquant_plugin.bulk.ranking import KEPT_FAILURES, pictures_named
    from artquant_plugin.report.site.contact_sheet import ContactSheet, RankedPicture, write_contact_sheet

    ranked = [
        RankedPicture(row["path"], row["score"], {word: row[word] for word in columns.levels})
        for row in ranking.best(args.top or SHEET_PICTURES)
    ]
    failures = [(row["path"], row["reason"]) for row in ranking.failures()[:KEPT_FAILURES]]
    sheet = ContactSheet(args.model, ranking.scored, ranking.failed, ranked, failures)
    write_contact_sheet(args.sheet, sheet, pictures_named({picture.name for picture in ranked}, inputs))
    if not args.top and ranking.scored > len(ranked):
        print(f"the sheet shows the {len(ranked):,} best; --top N shows another number", file=sys.stderr)
    print(visible(str(args.sheet)), file=sys.stdout if args.out and not args.json else sys.stderr)


class _Table:
    """Prints rows for people. The path is the last column, since the longest path is not known yet.

    Args:
        columns: the columns of the rows.
    """

    def __init__(self, columns: "ScoreColumns") -> None:
        self.columns = columns
        self.widths = [max(len(name), 6) for name in columns.numbers]

    def begin(self) -> None:
        """Print the names of the columns."""
        names = zip(self.columns.numbers, self.widths, strict=True)
        print("  ".join([*(name.rjust(width) for name, width in names), "path"]), flush=True)

    def row(self, row: "ScoreRow") -> None:
        """Print a row, with the reason where it has no score."""
        cells = ["-" if row[name] is None else f"{row[name]:.3f}" for name in self.columns.numbers]
        aligned = [cell.rjust(width) for cell, width in zip(cells, self.widths, strict=True)]
        reason = f"  ({row['reason']})" if row["reason"] else ""
        print(visible("  ".join([*aligned, row["path"]]) + reason), flush=True)


class _JsonLines(_Table):
    """Prints rows for programs, in the form of the files that end with .jsonl."""

    def begin(self) -> None:
        """Print nothing: each line says what it holds."""

    def row(self, row: "ScoreRow") -> None:
        """Print a row as one JSON object."""
        print(printable_json(self.columns.nested(row), indent=None), flush=True)


def _writes_shards(args: argparse.Namespace) -> bool:
    """Whether --out names a folder of shards."""
    from artquant_plugin.bulk.output_file import is_folder

    return bool(args.out) and is_folder(args.out)


def _rank() -> tuple[int, int]:
    """Rank and number of processes, as torchrun and `accelerate launch` tell them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _engine(args: argparse.Namespace, world: int) -> "ScoringEngine":
    if args.endpoint:
        if args.engine == "ray":
            raise ArtQuantError("--endpoint and --engine ray exclude each other; a server needs no cluster here")
        if args.engine == "vllm":
            raise ArtQuantError("--endpoint and --engine vllm exclude each other; the server runs the model already")
        return _endpoint_engine(args)
    from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine

    device = args.device
    if device is None and world > 1:
        from artquant_plugin.common.device import default_device

        if default_device() == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if args.engine == "vllm":
        from artquant_plugin.bulk.vllm_engine import VllmEngine

        return VllmEngine(
            args.model,
            scoring=args.scoring,
            dtype=args.dtype,
            device=device,
            python=args.vllm_python,
            batch_size=args.batch_size,
            compile=args.compile,
        )
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
        attributes=_attributes(args.attributes),
    )


def _attributes(given: str | None) -> bool | tuple[str, ...]:
    """The attributes that --attributes asks for, as `CheckpointEngine` takes them."""
    if given is None:
        return False
    return True if given == ALL else tuple(name.strip() for name in given.split(","))


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


def _summary_lines(summary: "ScoreSummary", inputs: "Inputs | None", out: Path) -> list[str]:
    """The lines of a finished command: the counts first, then the others of the summary, then the output's path.

    Args:
        summary: the summary of the finished command.
        inputs: the inputs, which tell how many of their files are no pictures; None where another process prints that.
        out: the file or folder that was written.
    """
    counts, *others = summary.lines()
    passed_over = inputs.passed_over() if inputs and not summary.finished else ""
    return [counts, *filter(None, [passed_over]), *others, str(out)]


def _check_strict(rows: int, failed: int, *, strict: bool) -> None:
    if strict and failed:
        raise ArtQuantError(f"{failed:,} of {rows:,} images have no score; the column reason says why (--strict)")
