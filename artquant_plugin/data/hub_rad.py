"""RAD on the Hub -> a dataset folder of this machine: its rows, and pictures that the user has or that it brings."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_folder, atomic_write, link_file
from artquant_plugin.common.hub import commit_of, fetch_snapshot, is_hub_id, split_revision
from artquant_plugin.common.run_record import one_at_a_time
from artquant_plugin.common.tables import parquet_batches
from artquant_plugin.data.dataset import INFO_FILE, Dataset, data_home
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
    record = json.loads((source / RAD_FILE).read_text(encoding="utf-8"))
    own = None if record["with_images"] else _own_import(record["data"]["name"], name)
    root = PICTURES if own is None else str(own.image_root.resolve())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder.parent / f".{folder.name}.lock"):  # the processes of a run ask at the same time
        if not (folder / INFO_FILE).is_file() or Dataset.load(folder).info.image_root != root:
            if own is not None:
                _check_pictures(Dataset.load(source), own, name)
            _write(source, folder, root, with_pictures=own is None)
    return folder


def _own_import(source: str, name: str) -> Dataset:
    """The user's own import of the dataset that was described.

    Raises:
        ArtQuantError: it is not there.
    """
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
        info = replace(Dataset.load(source).info, image_root=root)
        with atomic_write(part / INFO_FILE) as file:
            file.write(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n")


def _pictures(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Name and content of each picture in a Parquet file.

    Raises:
        ArtQuantError: a name leaves the folder, or a content is another than the row says.
    """
    for batch in parquet_batches(str(path), ("file_name", "sha256", "image"), rows_at_once=PICTURES_AT_ONCE):
        for row in batch.to_pylist():
            picture: dict[str, Any] | None = row["image"]
            if picture is None:
                continue
            name = PurePosixPath(row["file_name"])
            if name.is_absolute() or ".." in name.parts:
                raise ArtQuantError(f"'{path}' names a picture '{name}', which leaves its folder; do not use it")
            if hashlib.sha256(picture["bytes"]).hexdigest() != row["sha256"]:
                raise ArtQuantError(f"'{path}': picture '{name}' is not what its row says; fetch it again")
            yield name, picture["bytes"]
