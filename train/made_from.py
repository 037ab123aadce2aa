"""What decides about the weights that a run ends with: its data, the weights that it starts from, its processes."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artquant_plugin.backbones.mplug_owl2.layout import base_name, is_original
from artquant_plugin.checkpoint import Identity, locate
from artquant_plugin.checkpoint.adapter import base_of
from artquant_plugin.checkpoint.identity import identify
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.hub_rad import is_published_name
from artquant_plugin.data.images import ImageError, sha256_file
from artquant_plugin.publish.whitelist import CHECKPOINT
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.sections import ModelSection

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl")  # which the identity of the weights covers


def made_from(model: ModelSection, datasets: Sequence[Dataset], processes: int) -> dict[str, Any]:
    """Everything beside the configuration that decides about a run's weights, for its record.

    Files are read to be hashed: those of the datasets' rows, and those of the weights that the run starts from.

    Args:
        model: The section that names these weights.
        datasets: The datasets that are trained and validated on.
        processes: Number of processes, with which the batch of an optimisation step grows.

    Returns:
        ``datasets`` and ``weights``, a list each of one object per dataset and checkpoint, and ``processes``.

    Raises:
        ArtQuantError: A split's files or the model's files are gone.
    """
    return {
        "datasets": [identify_data(dataset) for dataset in datasets],
        "weights": [identify_model(name, folder) for name, folder in starting_folders(model)],
        "processes": processes,
    }


def made_from_local(config: TrainConfig) -> dict[str, Any]:
    """What a run would be made from now, as far as that lies on this machine: nothing is fetched to find it out.

    A finished run needs neither its data nor its model any more, so that what is gone, or is on the Hub, is left out.

    Args:
        config: Configuration of the run.

    Returns:
        Those of the keys ``datasets`` and ``weights`` of `made_from` whose parts are all there.
    """
    found: dict[str, Any] = {}
    names = [section.name for section in config.data]
    with suppress(ArtQuantError):
        if not any(map(is_published_name, names)):
            found["datasets"] = [identify_data(Dataset.load(find_dataset(name))) for name in names]
    with suppress(ArtQuantError):
        start = Path(config.model.pretrained or "").expanduser()
        base = config.model.base
        if base is None and (start / ADAPTER_CONFIG_FILE).is_file():
            base = base_of(start, str(start))
        if start.is_dir() and (base is None or Path(base).expanduser().is_dir()):
            found["weights"] = [identify_model(*each) for each in starting_folders(config.model)]
    return found


def identify_data(dataset: Dataset) -> dict[str, Any]:
    """What tells a dataset from one of the same name that was made anew.

    Args:
        dataset: The dataset, whose rows are read.

    Returns:
        ``name``; ``files``, the SHA-256 of dataset.json and of each file of rows; and ``images``, a hash over the
        path, the SHA-256 and the size of each image of the training and validation splits. The SHA-256 is the one in
        the row, which import computed; for a row without one it is computed here. An image that cannot be read counts
        as missing.
    """
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        if split not in dataset.info.splits:
            continue
        for painting in dataset.each(split):
            try:
                path = dataset.image_path(painting)
                size = path.stat().st_size
                found = f"{painting.sha256 or sha256_file(path)} {size}"
            except (OSError, ImageError):
                found = "missing"
            digest.update(f"{painting.image} {found}\n".encode())
    paths = [dataset.folder / INFO_FILE, *(path for split in dataset.info.splits for path in dataset.files(split))]
    files = {str(path.relative_to(dataset.folder)): sha256_file(path) for path in paths}
    return {"name": dataset.info.name, "files": files, "images": digest.hexdigest()}


def starting_folders(model: ModelSection) -> list[tuple[str, Path]]:
    """The checkpoints that a run starts from, as the user named each and its local folder.

    Args:
        model: The section that names them.

    Returns:
        The full model; an adapter and its base model; or nothing for a model that is built from its sizes.

    Raises:
        ArtQuantError: A checkpoint cannot be found, or an adapter names no base model.
    """
    if model.pretrained is None:
        return []
    folder = locate(model.pretrained)
    if is_original(folder):
        base = base_name(folder, model.base)
    elif (folder / ADAPTER_CONFIG_FILE).is_file():
        base = model.base or base_of(folder, model.pretrained)
    else:
        base = None
    return [(model.pretrained, folder), *([(base, locate(base))] if base else [])]


def identify_model(name: str, folder: Path) -> dict[str, Any]:
    """What tells a checkpoint from one that was trained or changed in the same place.

    Args:
        name: Folder or Hub id, as the user named it.
        folder: Its local folder, whose weights are read.

    Returns:
        The fields of `Identity`, and ``settings``, a hash over the names and contents of the other files that loading
        reads, such as config.json and the tokenizer's.
    """
    identity: Identity = identify(name, folder)
    digest = hashlib.sha256()
    for file, path in CHECKPOINT.chosen(folder).items():
        if CHECKPOINT.is_loaded(file) and path.suffix not in _WEIGHTS:
            digest.update(f"{file} {sha256_file(path)}\n".encode())
    return {**asdict(identity), "settings": digest.hexdigest()}
