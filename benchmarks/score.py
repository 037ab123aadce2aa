"""Speed of scoring, from JPEG files to scores, for models of real architectures with random weights.

Each shape and batch size is a row, measured in a process of its own: images per second; the shares of time that go
to waiting for images, to the vision encoder, to the rest of the model, and to everything else; peak memory; and which
fraction of this machine's matrix-product peak (2048³, or 8192³ on a GPU; best of the same run) the operations of the
model are. A formula counts those of mPLUG-Owl2; torch's counter counts those of Qwen3.5, in which the operations of
linear attention are missing where flash-linear-attention computes them.

With `--attributes PAIRS`, each row says what a score and APDD's ten attributes cost together, in scores: the median of
so many pairs of runs in one process, one with the attributes and one without.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _machine import paintings
from _models import SHAPES

HEADER = (
    f"{'shape':<13}{'batch':>6}{'images/s':>10}{'GFLOP/image':>13}{'of peak':>9}{'peak GFLOP/s':>14}"
    f"{'waiting':>9}{'vision':>8}{'language':>10}{'rest':>6}{'memory MiB':>12}"
)


def main() -> None:
    """Measure each shape and batch size, and print the table."""
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
    parser.add_argument("--attributes", type=int, default=0, metavar="PAIRS", help="pairs of runs (default: none)")
    parser.add_argument("--json", action="store_true", help="print each row as a JSON object, without the table")
    args = parser.parse_args()
    if not args.json:
        print(HEADER + (f"{'with attributes':>17}" if args.attributes else ""), flush=True)
    with tempfile.TemporaryDirectory() as name:
        images = Path(name) / "images"
        paintings(images, args.images, args.side)
        for shape in args.shapes:
            for batch_size in args.batch_sizes:
                row = {"shape": shape, "batch": batch_size, **measure(args, shape, images, batch_size)}
                print(json.dumps(row) if args.json else table_row(row), flush=True)


def measure(args: argparse.Namespace, shape: str, images: Path, batch_size: int) -> dict[str, Any]:
    """Measure one row in a fresh process, so that its peak memory is that of the row."""
    command = [sys.executable, str(Path(__file__).with_name("_score_row.py")), shape, str(images)]
    command += ["--batch-size", str(batch_size)]
    for name in ("dtype", "device", "threads", "attributes"):
        command += [f"--{name}", str(getattr(args, name))]
    if args.workers is not None:
        command += ["--workers", str(args.workers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table_row(row: dict[str, Any]) -> str:
    """A row of the table as text."""
    rest = 1 - row["waiting"] - row["vision"] - row["language"]
    fraction = row["rate"] * row["work"] / row["peak"]
    return (
        f"{row['shape']:<13}{row['batch']:>6}{row['rate']:>10.2f}{row['work'] / 1e9:>13.1f}{fraction:>9.1%}"
        f"{row['peak'] / 1e9:>14,.0f}{row['waiting']:>9.1%}{row['vision']:>8.1%}{row['language']:>10.1%}{rest:>6.1%}"
        f"{row['memory'] / 2**20:>12,.0f}" + (f"{row['attributes']:>16.2f}x" if "attributes" in row else "")
    )


if __name__ == "__main__":
    main()
