"""One row of benchmarks/score.py: score files with a model of random weights, in a process of its own."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _machine import memory, peak
from _models import SHAPES, arithmetic, random_checkpoint
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from artquant_plugin.common.device import start_threads
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.scoring.timings import Timings


def main() -> None:
    """Measure and print JSON; the peak of matrix products is measured before and after, and the better one counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("images", type=Path, help="folder")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--attributes", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    start_threads(args.device)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    checkpoint = random_checkpoint(args.shape, device=args.device, dtype=dtype)
    scorer = ArtQuantScorer(checkpoint, batch_size=args.batch_size, workers=args.workers)
    files = sorted(args.images.iterdir())
    list(scorer.score_each(files[: max(args.batch_size, 2)]))
    peaks = [peak(device, dtype)]
    timings = Timings()
    seconds = time_of(lambda: list(scorer.score_each(files, timings=timings)))
    # Measuring the parts waits for a GPU after each one, so that a run without it gives the rate there.
    whole = time_of(lambda: list(scorer.score_each(files))) if device.type == "cuda" else seconds
    used = memory(device)
    peaks.append(peak(device, dtype))
    row = {
        "rate": len(files) / whole,
        "work": work(args.shape, scorer),
        "peak": max(peaks),
        "waiting": timings.waiting / seconds,
        "vision": timings.vision / seconds,
        "language": (timings.model - timings.vision) / seconds,
        "memory": used,
    }
    if args.attributes:
        row["attributes"] = cost_with_attributes(scorer, files, args.attributes)
    print(json.dumps(row))


def cost_with_attributes(scorer: ArtQuantScorer, files: list[Path], pairs: int) -> float:
    """The time of a score with all attributes in times of one without, the median of several pairs of runs.

    On a CPU, the process's own time counts, so that other programs of a busy machine change little.
    """
    on_cpu = torch.device(scorer.checkpoint.model.device).type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    list(scorer.score_each(files[: scorer.batch_size], attributes=True))
    ratios = []
    for _ in range(pairs):
        alone = time_of(lambda: list(scorer.score_each(files)), clock)
        ratios.append(time_of(lambda: list(scorer.score_each(files, attributes=True)), clock) / alone)
    return statistics.median(ratios)


def time_of(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """The seconds that a function takes by some clock."""
    started = clock()
    run()
    return clock() - started


def work(shape: str, scorer: ArtQuantScorer) -> float:
    """Floating-point operations of one score: by formula, or as torch counts them where there is no formula."""
    request = scorer.prompter.score_request
    inputs = scorer.prompter.inputs([request.text], [Image.new("RGB", (448, 448))])
    assert request.level is not None
    tokens = inputs["input_ids"].shape[1] - len(request.ids) + request.level
    found = arithmetic(shape, tokens, scorer.shared_tokens)
    if found is None:
        with FlopCounterMode(display=False) as counter:
            scorer.score([Image.new("RGB", (448, 448))])
        found = counter.get_total_flops()
    return found


if __name__ == "__main__":
    main()
