"""What bulk scoring costs besides the model: rows per second and memory of a run whose engine gives fixed scores.

Prints one line per number of rows and kind of output: seconds, rows per second, and the process's largest memory so
far, which does not grow with the rows as long as no code collects them. Images are not opened.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.inputs import find_inputs
from artquant_plugin.bulk.output_file import score_to_file
from artquant_plugin.bulk.rows import ScoreColumns
from artquant_plugin.bulk.shards import score_to_folder
from artquant_plugin.prompting.levels import LEVEL_NAMES


class FixedEngine:
    """An engine for bulk scoring that gives every image the same score."""

    columns = ScoreColumns(LEVEL_NAMES)
    options: dict[str, Any] = {"engine": "fixed"}

    def identity(self):
        """The identity of its model, which is always the same."""
        return {"name": "fixed"}

    def results(self, images):
        """One result per image, without opening it."""
        for _ in images:
            yield {"score": 5.0, "levels": dict.fromkeys(LEVEL_NAMES, 0.2), "entropy": 1.6, "extras": {}}


def main() -> None:
    """Measure each number of rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 400_000])
    args = parser.parse_args()
    print(f"{'rows':>9}  {'output':<8} {'seconds':>8} {'rows/s':>8} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            manifest = Path(folder) / f"{rows}.jsonl"
            with manifest.open("w") as file:
                file.writelines(json.dumps({"image": f"paintings/{index:09d}.jpg"}) + "\n" for index in range(rows))
            inputs = find_inputs([str(manifest)])
            for output in ("shards", "parquet", "csv"):
                started = time.perf_counter()
                if output == "shards":
                    score_to_folder(inputs, FixedEngine(), Path(folder) / str(rows), shard_size=10_000, show=False)
                else:
                    score_to_file(inputs, FixedEngine(), Path(folder) / f"{rows}.{output}", show=False)
                seconds = time.perf_counter() - started
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{rows:>9,}  {output:<8} {seconds:>8.1f} {rows / seconds:>8,.0f} {peak:>9.0f}")


if __name__ == "__main__":
    main()
