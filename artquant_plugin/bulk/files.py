"""Images that are files: named ones, imported datasets, files on the Hub, and tar archives of files."""

import hashlib
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.folders import IMAGE_SUFFIXES, is_passed_over
from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import content_key, filesystem, open_binary, quick_key, remote_key, suffix
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import first_line
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.data.images import resolve_inside
from artquant_plugin.data.picture_files import ImageError
from artquant_plugin.data.picture_kinds import HEAD_BYTES, kind_of


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
class ListedFiles:
    """Image files that a pattern matches, or whose paths came through standard input.

    Args:
        label: the pattern as the user typed it, or ``-`` for standard input.
        files: the path of every file, in the order of the rows. Whether one can be read shows when it is opened.
        passed_over: how many other files the pattern matches, by kind.
    """

    label: str
    files: tuple[str, ...]
    passed_over: Counter[str] = field(default_factory=Counter)

    def references(self) -> Iterator[str]:
        """The path of every file."""
        yield from self.files

    def image(self, index: int, reference: str) -> NamedImage:
        """The file."""
        return NamedImage(reference, Path(reference))

    def count(self) -> int | None:
        """Number of files."""
        return len(self.files)

    def identity(self) -> dict[str, Any]:
        """Pattern and number of files, a hash of their names, and a key of their contents."""
        names = hashlib.sha256("\n".join(self.files).encode(errors="surrogateescape")).hexdigest()[:16]
        content = quick_key(map(Path, self.files))
        return {"pattern": self.label, "images": len(self.files), "names": names, "content": content}


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Image files of a file system that fsspec reads, such as the Hub's.

    Args:
        location: as the user typed it.
        files: the full location of every image file, sorted, each with a key of its content.
        passed_over: how many other files are there, by their endings; their contents would have to be fetched.
    """

    location: str
    files: tuple[tuple[str, str], ...]
    passed_over: Counter[str] = field(default_factory=Counter)

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
    """A webdataset archive: every picture in it is a row, in the archive's order.

    Args:
        location: a path, or an address that fsspec reads; the archive may be compressed.
        extension: which member of a sample is the image, as ``jpg`` for ``0001.jpg``; None takes every member that
            has an image suffix or holds a picture.
        passed_over: how many members are no pictures, by kind, as far as the archive was read last.
    """

    location: str
    extension: str | None = None
    passed_over: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @property
    def label(self) -> str:
        """The file."""
        return self.location

    def references(self) -> Iterator[tuple[str, bytes]]:
        """The name and the bytes of every picture.

        Raises:
            ArtQuantError: the archive is broken or cut short.
        """
        self.passed_over.clear()
        with open_binary(self.location) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    for member in archive:
                        content = archive.extractfile(member) if self._may_be_image(member) else None
                        if content is not None:
                            head = content.read(HEAD_BYTES)
                            if self._is_image(member.name, head):
                                yield member.name, head + content.read()
            except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                if is_machine_fault(error):
                    raise machine_error(error, f"archive '{self.location}' cannot be read") from error
                raise ArtQuantError(f"archive '{self.location}' is broken ({error}); fetch it again") from error

    def _may_be_image(self, member: tarfile.TarInfo) -> bool:
        """Whether a member is a file whose name does not rule out that it is a picture."""
        parts = [part for part in member.name.split("/") if part not in ("", ".", "..")]
        if not member.isfile() or not parts:
            if member.issym() or member.islnk():
                self.passed_over["links"] += 1
            return False
        if self.extension is not None:
            extension = parts[-1].partition(".")[2].lower()
            return not is_passed_over(parts[-1]) and extension == self.extension.lower().lstrip(".")
        if any(map(is_passed_over, parts)):
            self.passed_over["hidden files" if parts[-1].startswith(".") else "the system's own files"] += 1
            return False
        return True

    def _is_image(self, name: str, head: bytes) -> bool:
        """Whether a member is a picture, or its ending says so."""
        if self.extension is not None or suffix(name) in IMAGE_SUFFIXES:
            return True
        kind = kind_of(head)
        if not kind.picture:
            self.passed_over[kind.plural] += 1
        return kind.picture

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
