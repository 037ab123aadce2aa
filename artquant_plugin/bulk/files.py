"""Image files: named ones, folders, imported datasets."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.items import Item
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import content_key, filesystem, open_binary, suffix
from artquant_plugin.common.text import first_line
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.images import ImageError, resolve_inside

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".avif")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One image file as the user typed it; whether it can be read shows when it is."""

    path: str

    @property
    def label(self) -> str:
        """The path."""
        return self.path

    def records(self) -> Iterator[str]:
        """The path."""
        yield self.path

    def item(self, index: int, record: str) -> Item:
        """The file."""
        return Item(record, Path(record))

    def count(self) -> int | None:
        """One."""
        return 1

    def identity(self) -> dict[str, Any]:
        """Path and size."""
        return {"file": self.path, "size": Path(self.path).stat().st_size if Path(self.path).is_file() else None}


@dataclass(frozen=True, slots=True)
class Folder:
    """All image files below a folder, sorted folder by folder, so that no more than one folder's names are held."""

    path: str

    @property
    def label(self) -> str:
        """The folder."""
        return self.path

    def records(self) -> Iterator[str]:
        """Paths, as `path` is written; hidden files and folders are passed over."""
        return _walk(self.path)

    def item(self, index: int, record: str) -> Item:
        """The file."""
        return Item(record, Path(record))

    def count(self) -> int | None:
        """Number of image files."""
        return sum(1 for _ in self.records())

    def identity(self) -> dict[str, Any]:
        """Number of files, and a hash of their names and sizes."""
        digest, count = hashlib.sha256(), 0
        for path in self.records():
            digest.update(f"{os.path.relpath(path, self.path)}\0{_size(path)}\n".encode(errors="surrogateescape"))
            count += 1
        return {"folder": self.path, "images": count, "names": digest.hexdigest()[:16]}


def _size(path: str) -> int | None:
    """In bytes; None for a link to nothing."""
    return os.stat(path).st_size if os.path.exists(path) else None


def _walk(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ArtQuantError(f"folder '{folder}' cannot be listed ({error.strerror}); check its permissions") from error
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path)
        elif suffix(entry.name) in IMAGE_SUFFIXES:
            yield entry.path


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Image files of a file system such as the Hub's, listed once."""

    location: str
    paths: tuple[str, ...]

    @property
    def label(self) -> str:
        """The location as typed."""
        return self.location

    def records(self) -> Iterator[str]:
        """Full locations, sorted."""
        yield from self.paths

    def item(self, index: int, record: str) -> Item:
        """The file's bytes."""
        try:
            with open_binary(record) as file:
                return Item(record, file.read())
        except ArtQuantError as error:
            return Item(record, error)

    def count(self) -> int | None:
        """Number of files."""
        return len(self.paths)

    def identity(self) -> dict[str, Any]:
        """Number of files, and a hash of their names."""
        names = hashlib.sha256("\n".join(self.paths).encode()).hexdigest()[:16]
        return {"files": self.location, "images": len(self.paths), "names": names}


def list_remote(location: str) -> tuple[str, ...]:
    """Every file at a location: itself, what a pattern fits, or all below a folder; sorted, as full locations.

    Raises:
        ArtQuantError: nothing is there.
    """
    system, path = filesystem(location)
    try:
        if "*" in path:
            found = system.glob(path)
        elif system.isfile(path):
            found = [path]
        else:
            found = system.find(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ArtQuantError(f"'{location}' cannot be listed ({reason}); check the path and your access") from error
    if not found:
        raise ArtQuantError(f"nothing is at '{location}'; name a file, a folder or a pattern such as *.parquet")
    return tuple(sorted(system.unstrip_protocol(name) for name in found))


@dataclass(frozen=True, slots=True)
class ImportedSplit:
    """One split of a dataset that `artquant data import` wrote."""

    folder: str
    split: str

    @property
    def label(self) -> str:
        """Folder and split."""
        return f"{self.folder}:{self.split}"

    def records(self) -> Iterator[tuple[str, str]]:
        """Image name relative to the image root, and that root."""
        dataset = Dataset.load(Path(self.folder))
        for painting in dataset.split(self.split):
            yield painting.image, str(dataset.image_root)

    def item(self, index: int, record: tuple[str, str]) -> Item:
        """The painting's file under the name that `artquant metrics` joins by."""
        name, root = record
        try:
            return Item(name, resolve_inside(Path(root), name).absolute())
        except ImageError as error:
            return Item(name, error)

    def count(self) -> int | None:
        """As dataset.json says."""
        return Dataset.load(Path(self.folder)).info.splits[self.split].n

    def identity(self) -> dict[str, Any]:
        """A hash of the manifest."""
        keys = [content_key(str(path), whole=True) for path in Dataset.load(Path(self.folder)).files(self.split)]
        return {"dataset": self.folder, "split": self.split, "manifest": keys[0] if len(keys) == 1 else keys}
