"""What decides about the weights that a run ends with: its data, the weights that it starts from, its processes."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint import locate, locate_base
from artquant_plugin.checkpoint.adapter import base_of
from artquant_plugin.checkpoint.identity import file_keys
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import sha256_file
from artquant_plugin.common.hub import commit_of
from artquant_plugin.common.locations import quick_key
from artquant_plugin.data.dataset import INFO_FILE, Dataset
from artquant_plugin.data.find import find_dataset
from artquant_plugin.data.hub_rad import is_published_name
from artquant_plugin.train.config import TrainConfig, accumulation_steps
from artquant_plugin.train.sections import ModelSection


def made_from(config: TrainConfig, datasets: Sequence[Dataset], processes: int) -> dict[str, Any]:
    """Everything beside the configuration that decides about a run's weights, for its record.

    Args:
        config: Configuration of the run, which names the weights that it starts from and its batch sizes.
        datasets: The datasets that are trained and validated on.
        processes: Number of processes, among which the samples of an optimisation step are shared.

    Returns:
        ``datasets`` and ``weights``, a list each of one object per dataset and per checkpoint, ``processes``, and
        ``global_batch``, the samples of an optimisation step over all processes.

    Raises:
        ArtQuantError: Files of the datasets or of the model are gone, or the global batch does not divide.
    """
    return {
        "datasets": [identify_data(dataset) for dataset in datasets],
        "weights": [identify_model(folder) for _, folder in starting_folders(config.model)],
        "processes": processes,
        "global_batch": config.train.per_device_train_batch_size
        * accumulation_steps(dict(config.train), processes)
        * processes,
    }


def made_from_local(config: TrainConfig) -> dict[str, Any]:
    """What a run would be made from now, as far as that lies on this machine: nothing is fetched to find it out.

    A finished run needs neither its data nor its model any more, so that what is gone, or is on the Hub, is left out.

    Args:
        config: Configuration of the run, with its defaults filled in.

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
        if config.model.pretrained and start.is_dir() and (base is None or Path(base).expanduser().is_dir()):
            found["weights"] = [identify_model(folder) for _, folder in starting_folders(config.model)]
    return found


def identify_data(dataset: Dataset) -> dict[str, Any]:
    """What tells a dataset from one of the same name that was made anew.

    Args:
        dataset: The dataset, whose rows are read.

    Returns:
        ``name``; ``files``, the SHA-256 of dataset.json and of each file of rows; and ``images``, the `quick_key` of
        the images of the training and validation splits.
    """
    paths = [dataset.folder / INFO_FILE, *(path for split in dataset.info.splits for path in dataset.files(split))]
    files = {str(path.relative_to(dataset.folder)): sha256_file(path) for path in paths}
    splits = [split for split in ("train", "validation") if split in dataset.info.splits]
    images = quick_key(dataset.image_path(painting) for split in splits for painting in dataset.each(split))
    return {"name": dataset.info.name, "files": files, "images": images}


def starting_folders(model: ModelSection) -> list[tuple[str, Path]]:
    """The checkpoints that a run starts from, each with its name for messages and its local folder.

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
    base = locate_base(model.pretrained, folder, model.base)
    name = f"model {model.pretrained!r}"
    return [(name, folder), *([] if base is None else [(f"the base of {name}", base)])]


def identify_model(folder: Path) -> dict[str, Any]:
    """What tells a checkpoint from one that was trained or changed in the same place.

    Args:
        folder: Local folder of the checkpoint.

    Returns:
        ``revision``, the commit on the Hub, None for a folder that is not from there; and ``files``, a key of each
        file that the checkpoint is loaded from.
    """
    return {"revision": commit_of(folder), "files": file_keys(folder)}
