"""Where the pictures of a page come from: the user's imported dataset, and folders that the user names.

A results folder may be somebody else's. It names files of the machine on which it was made. If they were opened on
this machine, a published page would show whatever lies at these paths here, such as a private photograph. A path in a
results folder therefore only says what a painting's file is called.
"""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset, Painting
from artquant_plugin.metrics.predictions import file_name
from artquant_plugin.report.model_predictions import ModelPredictions


def find_pictures(
    ids: Sequence[str],
    dataset: Dataset | None,
    paintings: Mapping[str, Painting],
    models: Sequence[ModelPredictions],
    folders: Sequence[Path] = (),
) -> dict[str, Path]:
    """Find the pictures of paintings.

    Args:
        ids: the ids of the paintings.
        dataset: the imported dataset; None where it is not imported.
        paintings: the rows of the dataset's test split by id.
        models: the models, whose logged samples say what the files of further paintings are called.
        folders: folders that the user named; a painting that the dataset has no picture of is looked for in them, by
            its path in the dataset or in the run, and by its file name.

    Returns:
        The files by id, with all symbolic links resolved; paintings without a file are left out.

    Raises:
        ArtQuantError: one of `folders` is no folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ArtQuantError(f"'{folder}' is no folder; name one with pictures for --images")
    names: dict[str, str] = {painting_id: painting.image for painting_id, painting in paintings.items()}
    for model in models:
        for painting_id, sample in model.samples.items():
            if sample.image is not None:
                names.setdefault(painting_id, sample.image)
    found: dict[str, Path] = {}
    for painting_id in ids:
        name = names.get(painting_id)
        if name is None:
            continue
        places = [] if dataset is None or painting_id not in paintings else [(dataset.image_root, name)]
        places += [(folder, part) for folder in folders for part in (name, file_name(name))]
        path = next((path for place in places if (path := file_inside(*place)) is not None), None)
        if path is not None:
            found[painting_id] = path
    return found


def file_inside(folder: Path, name: str) -> Path | None:
    """The file of a name, if it lies in a folder or below it once all links are followed.

    Args:
        folder: the folder, which may itself be a link.
        name: a path relative to it, whoever wrote it.

    Returns:
        The file's real path. None where there is no such file, where it is a pipe or a device, and where its name, or
        a symbolic link on the way, leads out of the folder.

    Example:
        >>> file_inside(Path("/etc"), "../etc/passwd") is None
        True
    """
    if not name or ".." in Path(name).parts or Path(name).is_absolute():
        return None
    try:
        path = (folder / name).resolve(strict=True)
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError, RuntimeError):  # absent, an impossible name, links that go round in circles
        return None
    return path if is_file and path.is_relative_to(folder.resolve()) else None
