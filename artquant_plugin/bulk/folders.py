"""Folders of pictures: which of their files are pictures, and what they hold besides."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.images import NamedImage
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import quick_key, suffix
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.data.picture_files import file_kind

# Files of these endings are rows whatever they hold, so that a broken picture is a row with a reason. Of all other
# files, those are rows that hold a picture.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif"),
    *(".jp2", ".j2k", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif", ".jxl"),
)
# What file servers and operating systems put beside pictures: thumbnails, copies of deleted files, snapshots.
NOT_THE_USERS = (
    *("@eadir", "@recycle", "@__thumb", "#recycle", "#snapshot", "$recycle.bin", "system volume information"),
    *("__macosx", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini"),
)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is never a painting, nor holds any.

    Args:
        name: without the folders that it is in. Names that begin with a point are hidden, as ``.thumbnails``,
            ``.DS_Store`` and the ``._`` files of macOS are; the others are those of `NOT_THE_USERS`.
    """
    return name.startswith(".") or name.lower() in NOT_THE_USERS


@dataclass(frozen=True, slots=True)
class FolderSurvey:
    """What a folder holds.

    Args:
        images: number of pictures.
        names: a hash of their paths within the folder.
        content: a key of their contents.
        passed_over: how many files and folders are no pictures, by kind.
    """

    images: int
    names: str
    content: str
    passed_over: Counter[str]


@dataclass(frozen=True)
class Folder:
    """All pictures below a folder, sorted folder by folder, so that only one folder's names are held at a time.

    A picture that is found by two ways is one row: links that lead into the folder itself are passed over, and of a
    folder elsewhere to which several links lead, the first one is followed.

    Args:
        path: of the folder.
    """

    path: str

    @property
    def label(self) -> str:
        """The folder."""
        return self.path

    def references(self) -> Iterator[str]:
        """The path of every picture, beginning with the folder's path as it was given."""
        return pictures(self.path, Counter())

    def image(self, index: int, reference: str) -> NamedImage:
        """The file."""
        return NamedImage(reference, Path(reference))

    def count(self) -> int | None:
        """Number of pictures: the folder is listed."""
        return self.survey.images

    @property
    def passed_over(self) -> Counter[str]:
        """How many files and folders are no pictures, by kind."""
        return self.survey.passed_over

    def identity(self) -> dict[str, Any]:
        """Number of pictures, a hash of their names, and one of their contents."""
        found = self.survey
        return {"folder": self.path, "images": found.images, "names": found.names, "content": found.content}

    @cached_property
    def survey(self) -> FolderSurvey:
        """What the folder held when this was first asked."""
        names, count, passed_over = hashlib.sha256(), 0, Counter[str]()

        def each() -> Iterator[Path]:
            nonlocal count
            for path in pictures(self.path, passed_over):
                names.update(f"{os.path.relpath(path, self.path)}\n".encode(errors="surrogateescape"))
                count += 1
                yield Path(path)

        content = quick_key(each())
        return FolderSurvey(count, names.hexdigest()[:16], content, passed_over)


def pictures(folder: str, passed_over: Counter[str]) -> Iterator[str]:
    """Find the pictures below a folder.

    Args:
        folder: where to begin.
        passed_over: counts what is no picture, by kind, as far as the folder was read.

    Yields:
        The path of each picture, beginning with `folder`; names in order, the files of a folder at its place.

    Raises:
        ArtQuantError: a folder cannot be listed.
        MachineError: a fault of this machine keeps a folder or a file from being read.
    """
    root = os.path.realpath(folder)
    read = {_identity(folder)}  # of the folders that were begun: a folder is read once, whichever links lead to it
    open_folders = [_listed(folder)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
            continue
        is_folder, is_link = _is_folder(entry), entry.is_symlink()
        if is_passed_over(entry.name):
            hidden = "hidden" if entry.name.startswith(".") else "the system's own"
            passed_over[f"{hidden} {'folders' if is_folder else 'files'}"] += 1
        elif is_link and _is_read_anyway(entry.path, root):
            passed_over["links within the folder"] += 1
        elif is_folder:
            identity = _identity(entry.path)
            if identity in read:
                passed_over["links to a folder that was read"] += 1
            else:
                read.add(identity)
                open_folders.append(_listed(entry.path))
        elif suffix(entry.name) in IMAGE_SUFFIXES:
            yield entry.path
        else:
            kind = file_kind(Path(entry.path))
            if kind.picture:
                yield entry.path
            else:
                passed_over[kind.plural] += 1


def _listed(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        if is_machine_fault(error):
            raise machine_error(error, f"folder '{folder}' cannot be listed") from error
        raise ArtQuantError(f"folder '{folder}' cannot be listed ({error.strerror}); mend the path") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if is_machine_fault(error):
            raise machine_error(error, f"'{entry.path}' cannot be looked at") from error
        return False  # a link that leads to itself


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _is_read_anyway(link: str, root: str) -> bool:
    """Whether a link leads to a place that is read without it, or to a folder above, which would be read twice.

    A link into a hidden folder, as datalad and git-annex make them, is the only way to its picture.
    """
    target = os.path.realpath(link)
    if os.path.isdir(target) and (root + os.sep).startswith(target.rstrip(os.sep) + os.sep):
        return True
    if not target.startswith(root.rstrip(os.sep) + os.sep) or not os.path.exists(target):
        return False
    return not any(map(is_passed_over, os.path.relpath(target, root).split(os.sep)))
