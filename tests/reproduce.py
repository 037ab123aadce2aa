"""docs/reproduce.md on small made-up copies of the three datasets: `python -m tests.reproduce` runs every line of it.

The datasets have the authors' file formats, and RAD and the base model come from a Hub on loopback, so that the lines
run as they are shown. A line that trains gets `--dry-run`; where a later line evaluates its checkpoint, a small
untrained one stands in for it.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from artquant_plugin.checkpoint import ScoringSpec, save_checkpoint
from tests.backbones.mplug_owl2.original_folders import write_base
from tests.data.test_importers import BIG_HEADER, SPLIT_HEADER, apdd_row
from tests.paths import ROOT
from tests.peers.local_hub import LocalHub
from tests.publish.client import environment
from tests.tiny import pictures, tiny_llava
from tests.train.launching import free_port

PAGE = ROOT / "docs" / "reproduce.md"
SPLITS = {"train": 12, "validation": 4, "test": 6}
TEXT = "Perception: warm reds.\nCognition: a harbour.\nEmotion: calm."
UPLOAD = """
import sys
from huggingface_hub import HfApi
kind, name, folder = sys.argv[1:]
HfApi().create_repo(name, repo_type=kind)
HfApi().upload_folder(repo_id=name, repo_type=kind, folder_path=folder)
"""


def page_lines() -> list[str]:
    """The commands of the page: its indented lines, in order."""
    return re.findall(r"^    (\S.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def trains(line: str) -> bool:
    """Whether a command trains."""
    return line.startswith("artquant train ") or "artquant_plugin.train" in line


def evaluated(line: str) -> str | None:
    """The checkpoint that a command evaluates; None where it evaluates none."""
    found = re.match(r"lmms-eval .*\bpretrained=(\S+)", line)
    return found and found[1]


def write_datasets(folder: Path) -> dict[str, list[str]]:
    """The authors' files of the three datasets with pictures; the names of each dataset's pictures."""
    names = {split: [f"{split}{number}" for number in range(count)] for split, count in SPLITS.items()}
    files = {"train": "train", "validation": "valid", "test": "test"}
    scores = {name: 2 + index * 0.3 for index, name in enumerate(sum(names.values(), []))}
    apdd, baid, vaps = (folder / part for part in ("APDDv2", "BAID", "VAPS"))
    for part in (apdd / "csvfiles", apdd / "images", baid / "dataset", baid / "images", vaps / "images"):
        part.mkdir(parents=True)
    big = [BIG_HEADER]
    for split, own in names.items():
        rows = [apdd_row(f"{name}.png", f"{scores[name]:.1f}") for name in own]
        (apdd / "csvfiles" / f"{files[split]}.csv").write_text("\n".join([SPLIT_HEADER, *rows]) + "\n")
        big += [apdd_row(f"{name}.png", f"{10 * scores[name]:.0f}", "7", "A quiet picture.") for name in own]
        file = baid / "dataset" / f"{files[split].replace('valid', 'val')}_set.csv"
        file.write_text("\n".join(["image,score", *(f"{name}.jpg,{scores[name]:.1f}" for name in own)]) + "\n")
    (apdd / "APDDv2-10023.csv").write_text("\n".join(big) + "\n", encoding="gbk")
    rows = [f"{name}.jpg,{score:.1f}" for name, score in scores.items()]
    (vaps / "vaps_dataset.csv").write_text("\n".join(["File Number,Liking", *rows]) + "\n")
    for name, image in zip(scores, pictures(len(scores)), strict=True):
        _save(image, apdd / "images" / f"{name}.png", baid / "images" / f"{name}.jpg", vaps / "images" / f"{name}.jpg")
    jpegs = [f"{name}.jpg" for name in scores]
    return {"APDD": [f"{name}.png" for name in scores], "BAID": jpegs, "VAPS": jpegs}


def _save(image: Image.Image, *paths: Path) -> None:
    for path in paths:
        image.save(path)


def write_rad(folder: Path, names: dict[str, list[str]]) -> Path:
    """RAD's description files as its authors publish them."""
    for dataset, images in names.items():
        records = [
            {
                "id": image,
                "image": image,
                "task_type": "description",
                "conversations": [{"from": "human", "value": "What?\n<|image|>"}, {"from": "gpt", "value": TEXT}],
            }
            for image in images
        ]
        (folder / dataset).mkdir(parents=True)
        (folder / dataset / "descriptions_level_3.json").write_text(json.dumps(records))
    return folder


def run_page(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the page's commands one after the other.

    Args:
        folder: Empty folder in which they run.

    Yields:
        Each command as it was run, and what it printed to its standard output.

    Raises:
        AssertionError: A command failed; the message has the end of what it printed.
    """
    aside, home = folder / "aside", folder / "home"
    names = write_datasets(folder)
    with LocalHub(aside / "hub", token="token", user="tester", others={"rad": "Liuuuu123", "owl": "MAGAer13"}) as hub:
        rad, base = write_rad(aside / "rad", names), write_base(aside / "base")
        for token, kind, name, content in (
            ("rad", "dataset", "Liuuuu123/RAD", rad),
            ("owl", "model", "MAGAer13/mplug-owl2-llama2-7b", base),
        ):
            command = [sys.executable, "-c", UPLOAD, kind, name, str(content)]
            subprocess.run(command, env=environment(hub.url, aside / token, token), check=True, capture_output=True)
        own = {
            "ARTQUANT_DATA": str(folder / "data"),
            "CUDA_VISIBLE_DEVICES": "",
            "ACCELERATE_USE_CPU": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        for line in page_lines():
            if (checkpoint := evaluated(line)) is not None:
                save_checkpoint(folder / checkpoint, *tiny_llava(), ScoringSpec())
            command = f"{line} --dry-run" if trains(line) else line
            done = subprocess.run(
                shlex.split(command),
                cwd=folder,
                env=environment(hub.url, home, None, **own, PET_MASTER_PORT=str(free_port())),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            yield command, done.stdout


def main() -> None:
    """Run the page in a temporary folder and show each command."""
    with tempfile.TemporaryDirectory(prefix="artquant-reproduce-") as folder:
        for command, _ in run_page(Path(folder)):
            print(f"ok  {command}", flush=True)


if __name__ == "__main__":
    main()
