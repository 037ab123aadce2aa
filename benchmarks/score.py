"""Speed of scoring, from JPEG files to scores, for models of real architectures with random weights.

For each shape and batch size, in a process of its own: images per second; the share of time in which the model waits
for images, is in the vision encoder, in the rest of the model, and elsewhere; peak memory; and the fraction of this
machine's matrix-product peak (2048³, or 8192³ on a GPU; best of the same run), the arithmetic counted by formula.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _models import SHAPES, arithmetic, random_checkpoint
from PIL import Image

from artquant_plugin.checkpoint import save_checkpoint
from artquant_plugin.scoring import ArtQuantScorer
from artquant_plugin.timings import Timings

HEADER = (
    f"{'shape':<13}{'batch':>6}{'images/s':>10}{'GFLOP/image':>13}{'of peak':>9}{'peak GFLOP/s':>14}"
    f"{'waiting':>9}{'vision':>8}{'language':>10}{'rest':>6}{'memory MiB':>12}"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    default = ["7b", "qwen3.5-0.8b"] if on_gpu else ["h512", "ratio", "qwen3.5-tiny"]
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=default)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--images", type=int, default=1024 if on_gpu else 32, help="per row (default: %(default)s)")
    parser.add_argument("--side", type=int, default=1024, help="longer side of the JPEG files (default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16" if on_gpu else "float32")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="processes that prepare images (default: the engine's own)")
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)  # the model of a shape, for the rows
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)  # measures a saved model; JSON for the caller
    args = parser.parse_args()
    if args.save:
        checkpoint = random_checkpoint(args.shapes[0], device=args.device, dtype=getattr(torch, args.dtype))
        save_checkpoint(args.save, checkpoint.model, checkpoint.processor, checkpoint.spec)
        return
    if args.row:
        print(json.dumps(measure(args)))
        return
    print(HEADER, flush=True)
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process(args, shape, args.batch_sizes[0], "--save", folder)
            for batch_size in args.batch_sizes:
                row = json.loads(in_a_process(args, shape, batch_size, "--row", folder).splitlines()[-1])
                print(line(row), flush=True)


def in_a_process(args: argparse.Namespace, shape: str, batch_size: int, *task: str) -> str:
    """What a fresh process prints, whose peak memory is its own."""
    command = [sys.executable, __file__, *task, "--shapes", shape, "--batch-sizes", str(batch_size)]
    for name in ("images", "side", "dtype", "device", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    if args.workers is not None:
        command += ["--workers", str(args.workers)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Score the files; the peak is taken before and after."""
    (shape,), (batch_size,) = args.shapes, args.batch_sizes
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    scorer = ArtQuantScorer.from_pretrained(
        str(args.row), dtype=args.dtype, device=args.device, batch_size=batch_size, workers=args.workers
    )
    with tempfile.TemporaryDirectory() as folder:
        files = paintings(Path(folder), args.images, args.side)
        warm = max(batch_size, 2)
        list(scorer.score_each(files[:warm]))
        peaks = [peak(device, dtype)]
        timings = Timings()
        started = time.perf_counter()
        count = sum(1 for _ in scorer.score_each(files, timings=timings))
        seconds = time.perf_counter() - started
        peaks.append(peak(device, dtype))
    inputs = scorer.prompter.inputs([scorer.prompter.score_request.text], [Image.new("RGB", (448, 448))])
    answer = scorer.prompter.score_request
    assert answer.level is not None
    tokens = inputs["input_ids"].shape[1] - len(answer.ids) + answer.level
    work = arithmetic(shape, tokens, scorer.shared_tokens)
    return {
        "shape": shape,
        "batch": batch_size,
        "rate": count / seconds,
        "work": work,
        "peak": max(peaks),
        "waiting": timings.waiting / seconds,
        "vision": timings.vision / seconds,
        "language": (timings.model - timings.vision) / seconds,
        "memory": memory(device),
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    rest = 1 - row["waiting"] - row["vision"] - row["language"]
    work = "-" if row["work"] is None else f"{row['work'] / 1e9:.1f}"
    fraction = "-" if row["work"] is None else f"{row['rate'] * row['work'] / row['peak']:.1%}"
    return (
        f"{row['shape']:<13}{row['batch']:>6}{row['rate']:>10.2f}{work:>13}{fraction:>9}{row['peak'] / 1e9:>14,.0f}"
        f"{row['waiting']:>9.1%}{row['vision']:>8.1%}{row['language']:>10.1%}{rest:>6.1%}"
        f"{row['memory'] / 2**20:>12,.0f}"
    )


def paintings(folder: Path, count: int, side: int) -> list[Path]:
    """JPEG files of smooth colours and grain, in four formats."""
    rng = np.random.default_rng(0)
    files = []
    for index in range(count):
        size = [(side, side * 3 // 4), (side * 3 // 4, side), (side, side), (side, side * 9 // 16)][index % 4]
        coarse = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-12, 12, (size[1], size[0], 3), dtype=np.int16)
        files.append(folder / f"{index}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the best of some matrix products."""
    size, repeats = (8192, 20) if device.type == "cuda" else (2048, 8)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        left @ right
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def memory(device: torch.device) -> int:
    """Largest memory of this process, in bytes: the GPU's on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
