"""Scoring on a CPU against a peer's ten lines: Qwen3.5 with random weights, from JPEG files to scores.

The peer's lines (Q-ReAlign's README) score one image at a time in float32. They and this package in bfloat16 and in
float32 run in turn, each time in a process of its own, so that a change of the machine's speed meets all of them. The
table gives the medians of images per second, their ratio to the peer's, and the medians of the matrix-product peak
(2048³) that the same processes measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _machine import paintings

PEER = "peer, float32"


def main() -> None:
    """Measure the rows in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["qwen3.5-tiny", "qwen3.5-0.8b"], default="qwen3.5-0.8b")
    parser.add_argument("--images", type=int, default=8, help="per process (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="processes per row (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="of this package (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: %(default)s)")
    args = parser.parse_args()
    here = Path(__file__).parent
    own = [str(here / "_score_row.py"), "--batch-size", str(args.batch_size), "--device", "cpu"]
    commands = {
        PEER: [str(here / "_peer_row.py")],
        "artquant, float32": [*own, "--dtype", "float32"],
        "artquant, bfloat16": [*own, "--dtype", "bfloat16"],
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        paintings(images, args.images, 1024)
        for _ in range(args.rounds):
            for name, command in commands.items():
                whole = [sys.executable, *command, args.shape, str(images), "--threads", str(args.threads)]
                done = subprocess.run(whole, stdout=subprocess.PIPE, text=True, check=True)
                rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'':<20}{'images/s':>10}{'of peer':>9}{'peak GFLOP/s':>14}")
    peer = statistics.median(row["rate"] for row in rows[PEER])
    for name, measured in rows.items():
        rate, peak = (statistics.median(row[key] for row in measured) for key in ("rate", "peak"))
        print(f"{name:<20}{rate:>10.2f}{rate / peer:>9.2f}{peak / 1e9:>14,.0f}")


if __name__ == "__main__":
    main()
