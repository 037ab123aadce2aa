"""Disks, the Hub's login, datasets, fonts and browser."""

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

from artquant_plugin.environment.findings import Finding

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
LITTLE = 20e9  # bytes; mPLUG-Owl2 in float16, or Qwen3.5-9B in bfloat16, takes 16 to 19 GB
FULL = 1e9  # bytes; no pretrained model fits
_DEMO = "artquant_demo"


def check_disk(name: str, folder: Path, remedy: str, *, little: float = LITTLE, full: float = FULL) -> list[Finding]:
    """Room on the disk of a folder, or of the nearest folder above it that exists, and whether it can be written.

    Args:
        name: what the folder is for.
        folder: it need not exist.
        remedy: how to use another disk.
        little: bytes; less room is a note.
        full: bytes; less room is a problem.
    """
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    usage = shutil.disk_usage(existing)
    found = f"{usage.free / 1e9:,.1f} GB free of {usage.total / 1e9:,.1f} GB, {folder}"
    if not os.access(existing, os.W_OK):
        message = f"'{existing}' cannot be written"
        return [Finding("problem", "disk", name, found, "", message, remedy)]
    if usage.free < little:
        message = f"{usage.free / 1e9:.1f} GB are free at '{folder}'; a large model takes up to {LITTLE / 1e9:.0f} GB"
        return [Finding("problem" if usage.free < full else "note", "disk", name, found, "", message, remedy)]
    return [Finding("ok", "disk", name, found)]


def check_data_disk() -> list[Finding]:
    """Room where imported datasets are."""
    from artquant_plugin.data.dataset import data_home

    return check_disk("data", data_home(), "export ARTQUANT_DATA=FOLDER, on a disk with room")


def check_hub_disk() -> list[Finding]:
    """Room where the Hub's client keeps what it fetched."""
    from huggingface_hub.constants import HF_HUB_CACHE

    remedy = "hf cache prune, or export HF_HOME=FOLDER, on a disk with room"
    return check_disk("Hub cache", Path(HF_HUB_CACHE), remedy)


def check_current_disk() -> list[Finding]:
    """Room where runs and results go unless told otherwise."""
    return check_disk("current folder", Path.cwd(), "work in a folder on a disk with room")


def check_login() -> list[Finding]:
    """Whether the Hub's client has a token; the token is neither shown nor tried, so that nothing is sent."""
    from huggingface_hub import constants, get_token

    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    if get_token():
        return [Finding("ok", "hub", constants.ENDPOINT, f"token present, not tried{offline}")]
    message = (
        "there is no token for the Hub: gated models and datasets cannot be fetched, and nothing can be published"
    )
    return [Finding("note", "hub", constants.ENDPOINT, f"no token{offline}", "", message, "hf auth login")]


def check_datasets() -> list[Finding]:
    """Datasets under `data_home`: one finding for each, and a note for each that the tasks need and that is absent."""
    from artquant_plugin.data.dataset import INFO_FILE, data_home
    from artquant_plugin.data.find import PUBLISHED

    home = data_home()
    present = sorted(path.parent for path in home.glob(f"*/{INFO_FILE}"))
    found = [_dataset(folder) for folder in present]
    for name in (_DEMO, *PUBLISHED):
        if home / name not in present:
            found.append(_absent(name))
    return found


def _dataset(folder: Path) -> Finding:
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.data.dataset import Dataset

    try:
        dataset = Dataset.load(folder)
        for split in dataset.info.splits:
            dataset.files(split)
    except ArtQuantError as error:
        message, _, remedy = str(error).rpartition("; ")
        return Finding("problem", "data", folder.name, "broken", "", message or str(error), remedy)
    counts = ", ".join(f"{split.n:,} {name}" for name, split in dataset.info.splits.items())
    if not dataset.image_root.is_dir():
        message = f"the pictures of {folder.name} are gone: '{dataset.image_root}' is no folder"
        return Finding(
            "problem", "data", folder.name, counts, "", message, "put them back, or import the dataset again"
        )
    return Finding("ok", "data", folder.name, counts)


def _absent(name: str) -> Finding:
    from artquant_plugin.data.find import import_command

    message = f"dataset {name} is not imported: tasks and training on it cannot run"
    return Finding("note", "data", name, "absent", "", message, import_command(name))


def check_fonts() -> list[Finding]:
    """The font of the plots, which comes with matplotlib, and the system's fonts, with which a browser shows pages."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return []  # a finding of the packages
    name = "DejaVu Sans"
    font = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    if font.is_file():
        found = [Finding("ok", "font", name, "present")]
    else:
        message = f"'{font}' is absent, and plots are drawn in its font"
        remedy = "pip install --force-reinstall --no-deps matplotlib"
        found = [Finding("problem", "font", name, "absent", "", message, remedy)]
    if platform.system() == "Linux" and shutil.which("fc-list"):
        listed = subprocess.run(["fc-list"], capture_output=True, text=True, timeout=30).stdout.splitlines()
        if listed:
            found.append(Finding("ok", "font", "system fonts", f"{len(listed)} files"))
        else:
            message = "the system has no fonts: a browser on this machine shows pages without text"
            remedy = "sudo apt-get install fonts-dejavu"
            found.append(Finding("note", "font", "system fonts", "none", "", message, remedy))
    return found


def find_browser() -> str | None:
    """The path of a Chromium on the PATH; None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def check_browser() -> list[Finding]:
    """The browser that the tests of the pages drive; nothing else needs one."""
    path = find_browser()
    if path:
        return [Finding("ok", "browser", "Chromium", path)]
    message = f"none of {', '.join(BROWSERS)} is on the PATH: the tests of pages in a browser are skipped"
    remedy = "sudo apt-get install chromium" if platform.system() == "Linux" else "install Chromium or Chrome"
    return [Finding("note", "browser", "Chromium", "absent", "", message, remedy)]
