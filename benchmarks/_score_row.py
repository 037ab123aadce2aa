"""One row of benchmarks/score.py: score files with a saved model, in a process of its own."""

import argparse
import json
import time
from pathlib import Path

import torch
from _machine import memory, peak
from PIL import Image

from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.scoring.timings import Timings


def main() -> None:
    """Measure and print JSON; the peak of matrix products is measured before and after, and the better one counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="folder")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    scorer = ArtQuantScorer.from_pretrained(
        str(args.model), dtype=args.dtype, device=args.device, batch_size=args.batch_size, workers=args.workers
    )
    files = sorted(args.images.iterdir())
    list(scorer.score_each(files[: max(args.batch_size, 2)]))
    peaks = [peak(device, dtype)]
    timings = Timings()
    started = time.perf_counter()
    count = sum(1 for _ in scorer.score_each(files, timings=timings))
    seconds = time.perf_counter() - started
    used = memory(device)
    peaks.append(peak(device, dtype))
    request = scorer.prompter.score_request
    inputs = scorer.prompter.inputs([request.text], [Image.new("RGB", (448, 448))])
    assert request.level is not None
    row = {
        "rate": count / seconds,
        "tokens": inputs["input_ids"].shape[1] - len(request.ids) + request.level,
        "shared": scorer.shared_tokens,
        "peak": max(peaks),
        "waiting": timings.waiting / seconds,
        "vision": timings.vision / seconds,
        "language": (timings.model - timings.vision) / seconds,
        "memory": used,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
