"""`artquant prompt-search`: finds the question and the level words by which an untrained model scores best."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant_plugin.cli.options import add_model_options, positive, whole_number
from artquant_plugin.cli.table_options import add_table_options, beside_tables, in_chosen_format
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artquant_plugin.checkpoint import ScoringSpec
    from artquant_plugin.metrics.agreement import Agreement
    from artquant_plugin.prompt_search.candidates import Candidate
    from artquant_plugin.prompt_search.search import Trial
    from artquant_plugin.report.table_cells import Table

TINY_MASS = 0.01  # of the level words together; below it the model would almost always say something else
SHIPPED = Path("prompt-search.yaml")  # the name of the list of prompts that ships


def add_parser(subparsers: Any) -> None:
    """Add `artquant prompt-search`."""
    parser = subparsers.add_parser(
        "prompt-search",
        help="find the prompt by which an untrained model scores best",
        description="Try questions, beginnings of the answer and sets of level words on one half of a split, keep the "
        "prompt with the highest SROCC, and measure it on the other half (docs/models.md).",
        epilog="example: artquant prompt-search Qwen/Qwen2.5-VL-3B-Instruct --data apdd:validation --out winner.yaml",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint's folder or Hub id")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATASET[:SPLIT]",
        help="the paintings and their human scores (default of the split: validation)",
    )
    parser.add_argument(
        "--prompts",
        type=expanded,
        default=SHIPPED,
        metavar="FILE",
        help="YAML file with questions, prefixes and levels, yours or the one that ships (default: %(default)s)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="paintings drawn from the split (default: all)")
    parser.add_argument(
        "--seed", type=whole_number, default=0, help="seed of the halves and of the interval (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=expanded, metavar="FILE.yaml", help="write the best prompt as a scoring file for --scoring"
    )
    add_table_options(parser)
    add_model_options(parser.add_argument_group("model"), scoring="zero-shot")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Search, print the table of all prompts, and write the best one."""
    from artquant_plugin.checkpoint import choose_scoring, load_checkpoint, locate, locate_base
    from artquant_plugin.common.device import check_compile, default_device
    from artquant_plugin.common.progress import ProgressBar
    from artquant_plugin.prompt_search.candidates import plan_passes, read_prompts
    from artquant_plugin.prompt_search.search import (
        best_trial,
        measure,
        read_halves,
        scorers_of,
        search_prompts,
        write_winner,
    )

    if args.out and args.out.suffix not in (".yaml", ".yml"):
        raise ArtQuantError(f"--out '{args.out}' ends with neither .yaml nor .yml; name a YAML file")
    searched, held_out, absent = read_halves(args.data, limit=args.limit, seed=args.seed)
    folder = locate(args.checkpoint)
    start = choose_scoring(args.scoring, args.checkpoint, folder, locate_base(args.checkpoint, folder, args.base))
    candidates = read_prompts(args.prompts, start)
    device = args.device or default_device()
    if args.compile:
        check_compile(device)
    checkpoint = load_checkpoint(
        args.checkpoint,
        scoring=start,
        base=args.base,
        dtype=args.dtype,
        device=device,
        attn=args.attn,
        quantization=args.quantization,
    )
    passes, refused = plan_passes(checkpoint.processor, candidates)
    if not passes:
        raise ArtQuantError(f"none of the {len(candidates):,} prompts can be tried, the first because {refused[0][1]}")
    make_scorer = scorers_of(checkpoint, batch_size=args.batch_size, workers=args.workers, compile=args.compile)
    trials: list[Trial] = []
    paintings = f"{len(searched):,} paintings to search on"
    try:
        with ProgressBar("prompt search", "image", len(passes) * len(searched)) as bar:
            for trial in search_prompts(passes, searched, make_scorer, on_image=bar.advance):
                trials.append(trial)
                best = best_trial(trials)
                bar.tell(tried=len(trials), best=f"{best.srocc:.3f}" if best else "-")
        winner = best_trial(trials)
        if winner is None:
            raise ArtQuantError(
                f"no prompt has an SROCC, the first because {trials[0].reason}; look at the images and the model"
            )
        begun = [trial.candidate.spec for trial in trials if trial.candidate.spec == start]
        agreements = {
            spec: measure(spec, held_out, make_scorer, seed=args.seed)
            for spec in dict.fromkeys((winner.candidate.spec, *begun))
        }
    except (KeyboardInterrupt, ArtQuantError, MachineError):
        if trials:  # what was computed is not lost
            notes = [f"not finished: {len(trials):,} of {len(candidates) - len(refused):,} prompts, {paintings}"]
            print(in_chosen_format([_table(trials, refused, {}, notes)], args, several=False), flush=True)
        raise
    held = agreements[winner.candidate.spec]
    notes = [
        f"{paintings}, {len(held_out):,} held out (seed {args.seed})",
        "The best of many prompts has too high an SROCC on the paintings that it was chosen by; the held-out ones "
        "tell what it is worth" + (f", and what {start.name!r} is, with which the search began." if begun else "."),
        *([f"{absent:,} paintings without an image file have no part"] if absent else []),
        *held.cautions,
    ]
    print(in_chosen_format([_table(trials, refused, agreements, notes)], args, several=False))
    if args.out:
        low, high = held.srocc.low, held.srocc.high
        source = (
            f"artquant prompt-search of {args.checkpoint} on {args.data}: SROCC {held.srocc.value:.3f}"
            f"{'' if math.isnan(low) else f' [{low:.3f}, {high:.3f}]'} on {held.n:,} held-out paintings"
        )
        write_winner(args.out, winner.candidate.spec, source)
        print(visible(str(args.out)), file=beside_tables(args))


def _table(
    trials: "Sequence[Trial]",
    refused: "Sequence[tuple[Candidate, str]]",
    agreements: "Mapping[ScoringSpec, Agreement]",
    notes: "Sequence[str]",
) -> "Table":
    """All prompts, the best first; those without an SROCC stand last, with the reason."""
    from artquant_plugin.prompt_search.candidates import ONE_LEVEL
    from artquant_plugin.report.table_cells import Column, Figure, Table

    columns = (
        Column("question", "question", words=True, label=True),
        Column("prefix", "beginning of the answer", words=True, label=True),
        Column("levels", "level words", words=True, label=True),
        Column("scored", "scored"),
        Column("level_mass", "level mass", form=".2g"),
        Column("srocc", "SROCC"),
        Column("held_out_srocc", "held-out SROCC [95 % interval]", short="held-out SROCC", bounds="shown"),
        Column("reason", "reason", words=True),
    )

    def labels(candidate: "Candidate") -> tuple[str, str, str]:
        return candidate.question, candidate.spec.prompt.answer_prefix, candidate.levels

    rows: list[tuple[Any, ...]] = []
    for trial in sorted(trials, key=lambda trial: math.inf if math.isnan(trial.srocc) else -trial.srocc):
        held = agreements.get(trial.candidate.spec)
        mass = Figure(trial.level_mass, mark="(tiny)" if trial.level_mass < TINY_MASS else "")
        kept = None if held is None else Figure(held.srocc.value, held.srocc.low, held.srocc.high)
        rows.append((*labels(trial.candidate), trial.scored, mass, Figure(trial.srocc), kept, trial.reason))
    rows += [(*labels(candidate), None, None, None, None, reason) for candidate, reason in refused]
    if any(trial.level_mass < TINY_MASS for trial in trials):
        notes = [
            *notes,
            f"tiny: the level words have less than {TINY_MASS:.0%} of the probability there, so that the model would "
            "say something else",
        ]
    if any(ONE_LEVEL in trial.candidate.question for trial in trials):
        notes = [*notes, f"{ONE_LEVEL} in a question stands for the sentence that names the level words of the row"]
    for name, scale in {trial.candidate.levels: trial.candidate.spec.scale for trial in trials}.items():
        words = zip(scale.names, scale.values, strict=True)
        notes = [*notes, f"{name}: {', '.join(f'{word} = {value:g}' for word, value in words)}"]
    return Table(name="prompt-search", title="", columns=columns, rows=rows, notes=tuple(notes))
