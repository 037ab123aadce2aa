"""Checks of what is stored: room on disks, the Hub's login, and datasets."""

import os
import shutil
from pathlib import Path

from artquant_plugin.environment.findings import Finding

LITTLE = 20e9  # bytes; mPLUG-Owl2 in float16, or Qwen3.5-9B in bfloat16, takes 16 to 19 GB
FULL = 1e9  # bytes; no pretrained model fits


def check_disk(name: str, folder: Path, remedy: str, *, little: float = LITTLE, full: float = FULL) -> list[Finding]:
    """The finding about a folder's disk: how much room it has, and whether the folder can be written.

    For a folder that does not exist, the nearest existing folder above it is looked at.

    Args:
        name: the name of the finding, which says what the folder is for.
        folder: the folder, which need not exist.
        remedy: how the user can use another disk.
        little: the room in bytes below which the finding is a note.
        full: the room in bytes below which the finding is a problem.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    usage = shutil.disk_usage(existing)
    found = f"{usage.free / 1e9:,.1f} GB free of {usage.total / 1e9:,.1f} GB, {folder}"
    if not os.access(existing, os.W_OK):
        message = f"'{existing}' cannot be written"
        return [Finding("problem", "disk", name, found, "", message, remedy)]
    if usage.free < little:
        message = f"{usage.free / 1e9:.1f} GB are free at '{folder}'; a large model takes up to {little / 1e9:.0f} GB"
        return [Finding("problem" if usage.free < full else "note", "disk", name, found, "", message, remedy)]
    return [Finding("ok", "disk", name, found)]


def check_data_disk() -> list[Finding]:
    """The finding about the disk of imported datasets."""
    from artquant_plugin.data.dataset import data_home

    return check_disk("data", data_home(), "export ARTQUANT_DATA=FOLDER, on a disk with room")


def check_hub_disk() -> list[Finding]:
    """The finding about the disk on which the Hub's client keeps what it downloads."""
    from huggingface_hub.constants import HF_HUB_CACHE

    remedy = "hf cache prune, or export HF_HOME=FOLDER, on a disk with room"
    return check_disk("Hub cache", Path(HF_HUB_CACHE), remedy)


def check_current_disk() -> list[Finding]:
    """The finding about the disk of the current folder, where runs and results go by default."""
    return check_disk("current folder", Path.cwd(), "work in a folder on a disk with room")


def check_login() -> list[Finding]:
    """The finding about the Hub's token: whether there is one. It is neither shown nor tried, so nothing is sent."""
    from huggingface_hub import constants, get_token

    offline = ", offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    if get_token():
        return [Finding("ok", "hub", constants.ENDPOINT, f"token present, not tried{offline}")]
    message = (
        "there is no token for the Hub: gated models and datasets cannot be fetched, and nothing can be published"
    )
    return [Finding("note", "hub", constants.ENDPOINT, f"no token{offline}", "", message, "hf auth login")]


def check_datasets() -> list[Finding]:
    """One finding for each imported dataset, and a note for each that our tasks need and that is absent."""
    from artquant_plugin.data.dataset import DEMO, INFO_FILE, data_home
    from artquant_plugin.data.find import PUBLISHED

    home = data_home()
    present = sorted(path.parent for path in home.glob(f"*/{INFO_FILE}"))
    findings = [_dataset_finding(folder) for folder in present]
    for name in (DEMO, *PUBLISHED):
        if home / name not in present:
            findings.append(_absent_finding(name))
    return findings


def _dataset_finding(folder: Path) -> Finding:
    """The finding about an imported dataset: a problem where a file or the pictures are missing."""
    from artquant_plugin.common.errors import ArtQuantError
    from artquant_plugin.data.dataset import Dataset

    try:
        dataset = Dataset.load(folder)
        for split in dataset.info.splits:
            dataset.files(split)
    except ArtQuantError as error:
        message, _, remedy = str(error).partition("; ")
        return Finding("problem", "data", folder.name, "broken", "", message or str(error), remedy)
    counts = ", ".join(f"{split.n:,} {name}" for name, split in dataset.info.splits.items())
    if not dataset.image_root.is_dir():
        message = f"the pictures of {folder.name} are gone: '{dataset.image_root}' is no folder"
        return Finding(
            "problem", "data", folder.name, counts, "", message, "put them back, or import the dataset again"
        )
    return Finding("ok", "data", folder.name, counts)


def _absent_finding(name: str) -> Finding:
    """The note that a dataset is absent, with the command that imports it."""
    from artquant_plugin.data.find import import_command

    message = f"dataset {name} is not imported: tasks and training on it cannot run"
    return Finding("note", "data", name, "absent", "", message, import_command(name))
