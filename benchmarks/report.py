"""The page of `artquant report`: how long it takes to build and to open, and how large it is.

The paintings are 64 synthetic pictures under as many names as are asked for, each of which is read and scaled on its
own. All models leave a reply, and half of them a distribution over the levels. The browser is a headless Chromium;
without one, opening is not measured.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import memory, paintings

ROOT = Path(__file__).resolve().parent.parent
DRAWN = 64  # different pictures


def main() -> None:
    """Build the page twice, open it, and print times and sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paintings", type=int, default=6400)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--side", type=int, default=1024, help="of the paintings, in pixels (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = write_results(folder, args.paintings, args.models, args.side)
        print(f"{args.paintings:,} paintings of {args.side} pixels, {args.models} models, {os.cpu_count()} cores")
        for build in ("first build", "second build"):
            started, before = time.perf_counter(), cpu()
            make(results, folder / "site")
            print(f"{build:<22}{time.perf_counter() - started:>8.1f} s, {cpu() - before:.1f} s of CPU time")
        files = [path for path in (folder / "site").rglob("*") if path.is_file()]
        for label, kind in (("page", "html"), ("numbers and texts", "js"), ("pictures", "jpg")):
            own = [path for path in files if path.suffix == f".{kind}"]
            print(f"{label:<22}{sum(path.stat().st_size for path in own) / 2**20:>8.1f} MiB in {len(own):,} files")
        numbers = (folder / "site" / "data" / "baid.js").stat().st_size
        print(f"{'numbers alone':<22}{numbers / 2**20:>8.1f} MiB")
        print(f"{'memory':<22}{memory_of_this() / 2**20:>8.0f} MiB")
        open_pages(folder)


def memory_of_this() -> int:
    """The largest memory of this process so far, in bytes."""
    import torch

    return memory(torch.device("cpu"))


def cpu() -> float:
    """The CPU time, in seconds, of this process and of the child processes that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def make(results: Path, out: Path) -> None:
    """Run `artquant report` in this process."""
    from artquant_plugin.cli import main as command

    assert command(["report", str(results), "--out", str(out)]) == 0


def write_results(folder: Path, count: int, models: int, side: int) -> Path:
    """Write a dataset and the output folders of lmms-eval for several models.

    Args:
        folder: the folder for both, which is made when absent.
        count: the number of paintings in the dataset.
        models: the number of models with results.
        side: the longer side of the pictures, in pixels.

    Returns:
        The folder with the models' output folders.
    """
    from artquant_plugin.data.dataset import Painting, write_dataset

    sys.path.insert(0, str(ROOT))
    from tests.report.results import write_samples

    rng = np.random.default_rng(0)
    drawn = paintings(folder / "drawn", min(DRAWN, count), side)
    (folder / "baid" / "images").mkdir(parents=True)
    rows = []
    for index in range(count):
        os.link(drawn[index % len(drawn)], folder / "baid" / "images" / f"{index}.jpg")
        score = round(float(np.clip(rng.normal(4.7, 0.6), 0, 10)), 4)
        text = {"perception": "Colours " * 30, "cognition": "Sense " * 30, "emotion": "Calm " * 30}
        category = f"category {index % 24}"
        rows.append(Painting(str(index), f"images/{index}.jpg", "", score, category=category, description=text))
    dataset = write_dataset(
        folder / "baid",
        name="baid",
        score_range=(0, 10),
        splits={"test": rows},
        image_root=".",
        source="synthetic",
        license="none",
    )
    truths = {row.id: row.score for row in rows}
    truth = np.array(list(truths.values()))
    for model in range(models):
        values = np.clip(truth + rng.normal(0, 0.4 + 0.2 * model, count), 0, 10).round(4).tolist()
        levels = dict(
            zip(("excellent", "good", "fair", "poor", "bad"), rng.dirichlet(np.ones(5)).tolist(), strict=True)
        )
        reply = json.dumps({"score": 5.0, "levels": levels}) if model % 2 else "It is calm. " * 20 + "Score: 5"
        predictions = dict(zip(truths, values, strict=True))
        folder_of_model = folder / "results" / f"model-{model}"
        write_samples(folder_of_model, dataset, predictions, truths, replies=dict.fromkeys(truths, reply))
    return folder / "results"


def open_pages(folder: Path) -> None:
    """Print the seconds from typing the address to the second frame after everything is loaded, the best of three."""
    import shutil

    from tests.browser import NAMES, Browser

    programs = [program for name in NAMES if (program := shutil.which(name))]
    if not programs:
        print(f"none of {', '.join(NAMES)} is installed: opening is not measured")
        return
    with Browser(programs[0], folder / "profile") as browser:
        for page in ("index.html", "baid.html"):
            times = [browser.open(folder / "site" / page) for _ in range(3)]
            print(f"{'opening ' + page:<22}{times[0]:>8.2f} s (first), {min(times):.2f} s (best of 3)")
        print(f"{'requests':<22}{len(browser.requests):>8}")
        assert not browser.problems, browser.problems


if __name__ == "__main__":
    main()
