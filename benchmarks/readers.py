"""Our readers of tables and archives beside those of `datasets` and `webdataset`: time and memory.

Each reader passes over 200,000 rows of a table of image paths, or over a tar archive of 2,000 small pictures, in a
process of its own. Prints one line per format and reader: seconds of CPU for the import and for the rows, and the
process's largest memory (Linux). `webdataset` is no dependency; install it to have its line.
"""

import argparse
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BUILDERS = {"jsonl": "json", "csv": "csv", "parquet": "parquet", "tar": "webdataset"}  # of `datasets`, by suffix


def write(folder: Path, rows: int, pictures: int) -> list[Path]:
    """Write the same table in three formats, and an archive."""
    import numpy as np
    import pyarrow
    from PIL import Image
    from pyarrow import parquet

    paths = [folder / f"rows.{suffix}" for suffix in BUILDERS]
    lines, table, columns, archive = paths
    names = [f"{'folder' * 10}/{index:08d}.jpg" for index in range(rows)]
    lines.write_text("".join(json.dumps({"image": name}) + "\n" for name in names))
    table.write_text("image\n" + "".join(f"{name}\n" for name in names))
    parquet.write_table(pyarrow.table({"image": names}), columns)
    rng = np.random.default_rng(0)
    with tarfile.open(archive, "w") as file:
        for index in range(pictures):
            content = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(content, "JPEG")
            member = tarfile.TarInfo(f"{index:06d}.jpg")
            member.size = content.tell()
            content.seek(0)
            file.addfile(member, content)
    return paths


def rows_of(reader: str, path: str) -> Iterable[Any]:
    """The rows as one reader gives them; its library is imported here."""
    if reader == "ours":
        from artquant_plugin.bulk.inputs import find_inputs

        return find_inputs([path]).images()
    if reader == "webdataset":
        import webdataset

        return webdataset.WebDataset(path, shardshuffle=False)
    import datasets

    builder = BUILDERS[path.rpartition(".")[2]]
    found = datasets.load_dataset(builder, data_files=path, split="train", streaming=True)
    return found.decode(False) if builder == "webdataset" else found


def measure(reader: str, path: str) -> None:
    """Print seconds until the reader is there, seconds of its rows, rows, and peak MiB as JSON."""
    before = time.process_time()
    rows = rows_of(reader, path)
    there = time.process_time()
    count = sum(1 for _ in rows)
    # Not resource.getrusage, whose largest memory begins with that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    print(json.dumps([there - before, time.process_time() - there, count, peak]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--one", nargs=2, metavar=("READER", "PATH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(*args.one)
        return
    print(f"{'format':<8} {'reader':<10} {'rows':>8} {'import s':>9} {'rows s':>7} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder), args.rows, args.pictures):
            readers = ["ours", "datasets"]
            if path.suffix == ".tar" and importlib.util.find_spec("webdataset"):
                readers.append("webdataset")
            for reader in readers:
                command = [sys.executable, __file__, "--one", reader, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                start, seconds, count, peak = json.loads(done.stdout.splitlines()[-1])
                print(f"{path.suffix[1:]:<8} {reader:<10} {count:>8,} {start:>9.1f} {seconds:>7.2f} {peak:>9.0f}")


if __name__ == "__main__":
    main()
