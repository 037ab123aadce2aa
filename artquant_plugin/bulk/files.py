"""Images that are files: named ones, folders, imported datasets, files on the Hub, and tar archives of files."""

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import content_key, filesystem, open_binary, quick_key, remote_key, suffix
from artquant_plugin.common.text import first_line
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.images import ImageError, resolve_inside

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".avif")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One image file that the user named.

    Args:
        path: as the user typed it. Whether it can be read shows when the image is opened.
    """

    path: str

    @property
    def label(self) -> str:
        """The path."""
        return self.path

    def references(self) -> Iterator[str]:
        """The path."""
        yield self.path

    def image(self, index: int, reference: str) -> NamedImage:
        """The file."""
        return NamedImage(reference, Path(reference))

    def count(self) -> int | None:
        """One image."""
        return 1

    def identity(self) -> dict[str, Any]:
        """The path, and a key of the file's content."""
        return {"file": self.path, "content": quick_key([Path(self.path)])}


@dataclass(frozen=True, slots=True)
class Folder:
    """All image files below a folder, sorted folder by folder, so that only one folder's names are held at a time.

    Args:
        path: of the folder. Hidden files and folders are passed over, and so are files whose suffix is none of
            `IMAGE_SUFFIXES`.
    """

    path: str

    @property
    def label(self) -> str:
        """The folder."""
        return self.path

    def references(self) -> Iterator[str]:
        """The path of every image file, beginning with the folder's path as it was given."""
        return _walk(self.path)

    def image(self, index: int, reference: str) -> NamedImage:
        """The file."""
        return NamedImage(reference, Path(reference))

    def count(self) -> int | None:
        """Number of image files: the folder is listed."""
        return sum(1 for _ in self.references())

    def identity(self) -> dict[str, Any]:
        """Number of files, a hash of their names, and one of their contents."""
        names, count = hashlib.sha256(), 0
        for path in self.references():
            names.update(f"{os.path.relpath(path, self.path)}\n".encode(errors="surrogateescape"))
            count += 1
        content = quick_key(Path(path) for path in self.references())
        return {"folder": self.path, "images": count, "names": names.hexdigest()[:16], "content": content}


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
    """Image files of a file system that fsspec reads, such as the Hub's.

    Args:
        location: as the user typed it.
        files: the full location of every file, sorted, each with a key of its content.
    """

    location: str
    files: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """The location as typed."""
        return self.location

    def references(self) -> Iterator[str]:
        """The full location of every file, sorted."""
        for path, _ in self.files:
            yield path

    def image(self, index: int, reference: str) -> NamedImage:
        """The file's bytes, fetched now; the reason where they cannot be fetched."""
        try:
            with open_binary(reference) as file:
                return NamedImage(reference, file.read())
        except ArtQuantError as error:
            return NamedImage(reference, error)

    def count(self) -> int | None:
        """Number of files."""
        return len(self.files)

    def identity(self) -> dict[str, Any]:
        """Number of files, and a hash of their names and of what the file system says about their contents."""
        content = hashlib.sha256("\n".join(f"{path} {key}" for path, key in self.files).encode()).hexdigest()[:16]
        return {"files": self.location, "images": len(self.files), "content": content}


def list_remote(location: str) -> tuple[tuple[str, str], ...]:
    """List the files at a location.

    Args:
        location: of a file, of a folder whose files at any depth are listed, or a pattern with ``*``.

    Returns:
        The full location of every file, sorted, each with a key of its content.

    Raises:
        ArtQuantError: nothing is there, or it cannot be listed.
    """
    system, path = filesystem(location)
    try:
        if "*" in path:
            found = system.glob(path, detail=True)
        elif system.isfile(path):
            found = {path: system.info(path)}
        else:
            found = system.find(path, detail=True)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ArtQuantError(f"'{location}' cannot be listed ({reason}); check the path and your access") from error
    if not found:
        raise ArtQuantError(f"nothing is at '{location}'; name a file, a folder or a pattern such as *.parquet")
    return tuple(sorted((system.unstrip_protocol(name), remote_key(info)) for name, info in found.items()))


@dataclass(frozen=True, slots=True)
class ImportedSplit:
    """One split of a dataset that `artquant data import` wrote.

    Args:
        folder: the folder of the imported dataset.
        split: its name, one that dataset.json lists.
    """

    folder: str
    split: str

    @property
    def label(self) -> str:
        """Folder and split."""
        return f"{self.folder}:{self.split}"

    def references(self) -> Iterator[tuple[str, str]]:
        """The name of every image relative to the image root, and that root."""
        dataset = Dataset.load(Path(self.folder))
        for painting in dataset.split(self.split):
            yield painting.image, str(dataset.image_root)

    def image(self, index: int, reference: tuple[str, str]) -> NamedImage:
        """The painting's file, under the name by which `artquant metrics` joins it with the human score."""
        name, root = reference
        try:
            return NamedImage(name, resolve_inside(Path(root), name).absolute())
        except ImageError as error:
            return NamedImage(name, error)

    def count(self) -> int | None:
        """The number of paintings that dataset.json gives."""
        return Dataset.load(Path(self.folder)).info.splits[self.split].n

    def identity(self) -> dict[str, Any]:
        """A hash of each file that holds the split's rows, and one of the pictures."""
        keys = [content_key(str(path), whole=True) for path in Dataset.load(Path(self.folder)).files(self.split)]
        return {
            "dataset": self.folder,
            "split": self.split,
            "manifest": keys[0] if len(keys) == 1 else keys,
            "pictures": quick_key(Path(root) / name for name, root in self.references()),
        }


@dataclass(frozen=True, slots=True)
class TarArchive:
    """A webdataset archive: every image member is a row, in the archive's order.

    Args:
        location: a path, or an address that fsspec reads.
        extension: which member of a sample is the image, as ``jpg`` for ``0001.jpg``; None takes every member with an
            image suffix.
    """

    location: str
    extension: str | None = None

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def references(self) -> Iterator[tuple[str, bytes]]:
        """The name and the bytes of every image member.

        Raises:
            ArtQuantError: the archive is broken or cut short.
        """
        with open_binary(self.location) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    for member in archive:
                        if not member.isfile() or not self._is_image(member.name):
                            continue
                        content = archive.extractfile(member)
                        if content is not None:
                            yield member.name, content.read()
            except (tarfile.TarError, EOFError, OSError) as error:
                raise ArtQuantError(f"archive '{self.location}' is broken ({error}); fetch it again") from error

    def _is_image(self, name: str) -> bool:
        base = name.rsplit("/", 1)[-1]
        if base.startswith("."):
            return False
        if self.extension is None:
            return suffix(base) in IMAGE_SUFFIXES
        return base.partition(".")[2].lower() == self.extension.lower().lstrip(".")

    def image(self, index: int, reference: tuple[str, bytes]) -> NamedImage:
        """The image of a member, named by its archive and its own name."""
        name, content = reference
        return NamedImage(f"{self.location}/{name}", content)

    def count(self) -> int | None:
        """None: only reading the archive would tell."""
        return None

    def identity(self) -> dict[str, Any]:
        """The member's extension, and a key of the archive's size and samples of its content."""
        return {"archive": self.location, "extension": self.extension, "content": content_key(self.location)}
