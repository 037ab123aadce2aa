"""RAD on the Hub -> a dataset folder of this machine: its rows, and pictures that the user has or that it brings."""

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.files import atomic_folder, link_file
from artquant_plugin.common.hub import commit_of, fetch_snapshot, is_hub_id, split_revision
from artquant_plugin.common.run_record import one_at_a_time, read_record
from artquant_plugin.common.tables import parquet_batches
from artquant_plugin.data.copies import counted, same_pictures
from artquant_plugin.data.dataset import INFO_FILE, PLAIN_NAME, Dataset, DatasetInfo, data_home, write_info
from artquant_plugin.data.paintings import PARQUET_FOLDER

RAD_FILE = "rad.json"
PICTURES = "pictures"  # folder of the pictures that a repository brings
PICTURES_AT_ONCE = 64  # read from a Parquet file; each may hold megabytes
_NAME = re.compile(r"(?P<repo>[^:]+):(?P<config>[a-z0-9_-]+)")


def is_published_name(name: str) -> bool:
    """Whether a name is one of a dataset on the Hub, ``namespace/name:config`` or ``namespace/name@v1:config``."""
    found = _NAME.fullmatch(name)
    return found is not None and is_hub_id(split_revision(found["repo"])[0])


def fetch_dataset(name: str) -> Path:
    """The folder of a dataset that `artquant publish rad` put on the Hub.

    Its rows lie in `data_home`, once per commit. Pictures are those of the user's own import of the source, found by
    name and checked by hash; or those in the rows.

    Args:
        name: ``namespace/name:config``, with an optional ``@revision`` before the colon.

    Raises:
        ArtQuantError: the Hub does not have it, or the user's pictures are absent or others.
    """
    found = _NAME.fullmatch(name)
    assert found is not None
    repo, config = found["repo"], found["config"]
    snapshot = fetch_snapshot(repo, kind="dataset", only=[f"{config}/*"])
    source = snapshot / config
    if not (source / INFO_FILE).is_file() or not (source / RAD_FILE).is_file():
        raise ArtQuantError(f"dataset {repo!r} has no configuration {config!r} of RAD; look at its page on the Hub")
    commit = commit_of(snapshot) or "local"
    folder = data_home() / "hub" / f"{split_revision(repo)[0].replace('/', '--')}--{config}-{commit[:12]}"
    own = _own_import(_source_name(source / RAD_FILE), name)
    root = PICTURES if own is None else str(own.image_root.resolve())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder.parent / f".{folder.name}.lock"):  # the processes of a run ask at the same time
        if not (folder / INFO_FILE).is_file() or Dataset.load(folder).info.image_root != root:
            if own is not None:
                _check_pictures(Dataset.load(source), own, name)
            _write(source, folder, root, with_pictures=own is None)
    return folder


def _source_name(path: Path) -> str | None:
    """The name of the dataset that was described, as rad.json gives it; None where the rows hold their pictures.

    Raises:
        ArtQuantError: the file is no record of a RAD export.
    """
    remedy = "use another revision, or export and publish the run again"
    record = read_record(
        path, kind="record of a RAD export", remedy=remedy, fields=("with_images",), form_version=None
    )
    assert record is not None
    if record["with_images"]:
        return None
    data = record.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
        raise ArtQuantError(f"'{path}' names {name!r} as the dataset that was described; {remedy}")
    return name


def _own_import(source: str | None, name: str) -> Dataset | None:
    """The user's own import of the dataset that was described; None where none is needed.

    Raises:
        ArtQuantError: it is not there.
    """
    if source is None:
        return None
    folder = data_home() / source
    if not (folder / INFO_FILE).is_file():
        raise ArtQuantError(
            f"{name!r} holds no pictures, and {source!r} is not imported; its pictures are those of `artquant data "
            f"import {source} --annotations FILE_OR_FOLDER --images FOLDER`"
        )
    return Dataset.load(folder)


def _check_pictures(dataset: Dataset, own: Dataset, name: str) -> None:
    """See that the user has every picture of the rows.

    Raises:
        ArtQuantError: one is absent or another.
    """
    folder, source = own.folder, own.info.name
    hashes = {painting.image: painting.sha256 for split in own.info.splits for painting in own.each(split)}
    for split in dataset.info.splits:
        for painting in dataset.each(split):
            if painting.image not in hashes:
                raise ArtQuantError(
                    f"picture '{painting.image}' of {name!r} is not in '{folder}'; import {source!r} whole"
                )
            if painting.sha256 and hashes[painting.image] not in ("", painting.sha256):
                raise ArtQuantError(
                    f"picture '{painting.image}' in '{folder}' is another than the one that {name!r} describes; "
                    f"import {source!r} from its authors' files"
                )


def _write(source: Path, folder: Path, root: str, *, with_pictures: bool) -> None:
    """Make the dataset's folder: rows linked from the cache, pictures of the rows as files where there are any."""
    with atomic_folder(folder) as part:
        (part / PARQUET_FOLDER).mkdir()
        for path in sorted((source / PARQUET_FOLDER).glob("*.parquet")):
            link_file(path.resolve(), part / PARQUET_FOLDER / path.name)
            if with_pictures:
                for name, content in _pictures(path):
                    target = part / PICTURES / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
        write_info(part, replace(_with_copies(Dataset.load(source)), image_root=root))


def _with_copies(dataset: Dataset) -> DatasetInfo:
    """A dataset's description with the copies that its rows have, of which the user is warned.

    Warns:
        ArtQuantWarning: a picture stands in two splits.
    """
    rows = {
        split: (replace(painting, description=None, comment=None) for painting in dataset.each(split))
        for split in dataset.info.splits
    }
    found = same_pictures(rows)
    across = [picture for picture in found if len(picture.splits) > 1]
    if across:
        warnings.warn(
            f"{len(across):,} pictures of {dataset.info.name!r} stand in several splits, such as {across[0]}: figures "
            "of models that were trained on it are too good",
            ArtQuantWarning,
            stacklevel=4,
        )
    splits = {}
    for name, split in dataset.info.splits.items():
        copies, contradictory = counted(found, name)
        splits[name] = replace(split, copies=copies, contradictory=contradictory)
    return replace(dataset.info, splits=splits, files={})


def _pictures(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Name and content of each picture in a Parquet file.

    Raises:
        ArtQuantError: a name leaves the folder, or a content is another than the row says.
    """
    for batch in parquet_batches(str(path), ("file_name", "sha256", "image"), rows_at_once=PICTURES_AT_ONCE):
        for row in batch.to_pylist():
            picture: Any = row["image"]
            if picture is None:
                continue
            name = PurePosixPath(str(row["file_name"]))
            if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in str(name):
                raise ArtQuantError(f"'{path}' names a picture {str(name)!r}, which leaves its folder; do not use it")
            content = picture.get("bytes") if isinstance(picture, dict) else None
            if not isinstance(content, bytes) or hashlib.sha256(content).hexdigest() != row["sha256"]:
                raise ArtQuantError(f"'{path}': picture '{name}' is not what its row says; fetch it again")
            yield name, content
