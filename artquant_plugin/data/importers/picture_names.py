"""The files that annotations mean: names with backslashes, without an ending or in other letters find their file.

A table that was made on Windows, by a spreadsheet or from database keys often spells names in another way than the
image folder. Where exactly one file can be meant, it is taken and the user is told; where several can, none is.

Names that differ by more, such as ``1.jpg`` for ``01.jpeg``, are joined with a file only where the user asks for it.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.tables import read_table
from artquant_plugin.common.text import listed
from artquant_plugin.data.images import ImageError, resolve_inside
from artquant_plugin.data.picture_files import refuse_address

BACKSLASHES, NO_ENDING, OTHER_LETTERS, WHOLE_PATH = "backslashes", "no ending", "other letters", "whole path"
STEM, MAPPED = "stem", "mapped"
LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_TOLD = {
    BACKSLASHES: "with backslashes were read as paths with slashes",
    NO_ENDING: "without an ending were read as the only file of that name",
    OTHER_LETTERS: "were read as the only file that differs in upper and lower case, or in how accents are stored",
    WHOLE_PATH: "that lead to the image folder were read as relative to it",
    STEM: "were joined by --match stem with the only file that differs in case, ending and leading zeros",
    MAPPED: "were joined with the file that the mapping of --match gives",
}


@dataclass(frozen=True, slots=True)
class Match:
    """How names of annotations may be joined with files beyond their spelling.

    Args:
        stem: whether names that differ from a file in case, ending and leading zeros of numbers mean that file, where
            it is the only one: ``img_7.JPG`` means ``IMG_007.png``.
        files: files by the names of the annotations, both relative to the image folder. They come before all else.
    """

    stem: bool = False
    files: Mapping[str, str] = field(default_factory=dict)


def read_match(given: Sequence[str]) -> Match | None:
    """Read what the user passes as ``--match``.

    Args:
        given: the word ``stem``, and paths of tables with the columns ``name`` and ``file``, in any order; None is
            returned for nothing.

    Raises:
        ArtQuantError: a table cannot be read, has an empty cell, or names an annotation twice.
    """
    files: dict[str, str] = {}
    for location in given:
        if location == STEM:
            continue
        for row in read_table(location, ["name", "file"], remedy="give a mapping the columns name and file"):
            name, file = row.text("name"), row.text("file")
            if not name or not file:
                raise ArtQuantError(f"{row.place}: {'file' if name else 'name'} is empty; write it or remove the row")
            if files.setdefault(name, file) != file:
                raise ArtQuantError(
                    f"{row.place}: {name!r} is mapped to {files[name]!r} already; remove one of the two"
                )
    return Match(STEM in given, files) if given else None


def find_pictures(
    root: Path, names: Sequence[str], match: Match | None = None
) -> tuple[list[str | ImageError], list[str], dict[str, str]]:
    """Find the file of each name.

    Args:
        root: the image folder, which exists.
        names: paths relative to it, as the annotations spell them.
        match: how names may be joined with files that differ by more than their spelling; None for not at all.

    Returns:
        For each name the path of the file relative to the image folder, with forward slashes: the name itself where
        that is there. An error where no file, or more than one, can be meant, or where the name leaves the folder.
        Then a sentence for each kind of spelling that was read as another name, for the user. Then the files of those
        names that `match` joined, by name.
    """
    match = match or Match()
    joined: dict[str, str] = {}
    folders: dict[Path, _Folder] = {}
    found: list[str | ImageError] = []
    kinds: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in names:
        try:
            file, kind = _find(root, name, folders, match)
        except ImageError as error:
            found.append(error)
            continue
        found.append(file)
        if kind is not None:
            kinds[kind] += 1
            first.setdefault(kind, f"{name!r} as '{file}'")
            if kind in (STEM, MAPPED):
                joined[name] = file
    notes = [f"{count:,} names {_TOLD[kind]}, {first[kind]} the first" for kind, count in kinds.items()]
    return found, notes, joined


class _Folder:
    """The files of a folder by their folded names, with ending and without."""

    def __init__(self, folder: Path) -> None:
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        self.by_loose_stem: dict[str, list[str]] = {}
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            self.by_name.setdefault(_folded(file), []).append(file)
            stem, ending = os.path.splitext(file)
            if ending:
                self.by_stem.setdefault(_folded(stem), []).append(file)
                self.by_loose_stem.setdefault(_loose(stem), []).append(file)


def _find(root: Path, name: str, folders: dict[Path, _Folder], match: Match) -> tuple[str, str | None]:
    """The file of a name, and which kind of spelling the name has; None for the file's own."""
    if name in match.files:
        mapped = match.files[name]
        if not os.path.isfile(resolve_inside(root, mapped)):
            raise ImageError(
                f"image {name!r} is mapped to {mapped!r}, which is not in '{root}'; mend the mapping", "missing"
            )
        return mapped, MAPPED
    path, kind = PurePosixPath(name), None
    if "\\" in name and not os.path.lexists(root / name):
        drive = PureWindowsPath(name).drive
        text = name.replace("\\", "/")
        path, kind = PurePosixPath(f"/{text[2:]}" if drive.endswith(":") else text), BACKSLASHES
    inside = _behind_root(root, path, folders)
    if inside is not None:
        path, kind = inside, kind or WHOLE_PATH
    else:
        refuse_address(name)
    if kind == BACKSLASHES and path.is_absolute():
        there = [path.name] if os.path.isfile(root / path.name) else _alike(root / path.name, folders)[1]
        remedy = (
            f"{there[0]!r} is in the image folder '{root}': remove {name[: -len(path.name)]!r} from the names"
            if len(there) == 1
            else f"write paths relative to the image folder '{root}'"
        )
        raise ImageError(f"image path {name!r} is one of a Windows drive; {remedy}", "outside_folder")
    file = resolve_inside(root, name if kind is None else str(path))
    if os.path.lexists(file) and not os.path.isdir(file):
        return str(path), kind
    same, alike = _alike(file, folders)
    if len(alike) == 1:
        return str(path.with_name(alike[0])), kind or (OTHER_LETTERS if same else NO_ENDING)
    if alike:
        raise ImageError(
            f"image {name!r} is not in '{file.parent}', but {listed(alike)} are; write the whole name of one of them",
            "missing",
        )
    if os.path.isdir(file):
        return str(path), kind  # whoever opens it says that it is a folder
    loose = folders[file.parent].by_loose_stem.get(_loose(os.path.splitext(file.name)[0]), [])
    if match.stem and len(loose) == 1:
        return str(path.with_name(loose[0])), STEM
    if loose:
        several = len(loose) > 1
        raise ImageError(
            f"image {name!r} is not in '{file.parent}', but {listed(loose)} {'are' if several else 'is'}; "
            + (
                "name the right one in a mapping, --match MAPPING.csv" if several else "pass --match stem to join them"
            ),
            "missing",
        )
    if begin := _begins_alike(file, folders[file.parent]):
        raise ImageError(
            f"image {name!r} is not in '{file.parent}', but {begin} begins alike; if that is it, name both in a "
            "mapping, --match MAPPING.csv",
            "missing",
        )
    raise ImageError(_why_missing(root, path, name, kind), "missing")


def _alike(file: Path, folders: dict[Path, _Folder]) -> tuple[list[str], list[str]]:
    """The files of a folder that differ from a name in letters alone; and these, or else those that have an ending."""
    if file.parent not in folders:
        folders[file.parent] = _Folder(file.parent)
    beside = folders[file.parent]
    same = beside.by_name.get(_folded(file.name), []) if not os.path.lexists(file) else []
    return same, same or beside.by_stem.get(_folded(file.name), [])


def _begins_alike(file: Path, beside: _Folder) -> str | None:
    """The only file of a folder whose name begins with that of another one and goes on with something else."""
    stem = _loose(os.path.splitext(file.name)[0])
    # What follows must not go on with the same number or word: 2cropped.jpg is meant by 2, but 22.jpg and oils.jpg are
    # not meant by 2 and oil.
    goes_on = re.compile(re.escape(stem) + (r"\D" if stem[-1:].isdigit() else r"[\W\d_]"))
    found = [file for other, files in beside.by_loose_stem.items() if stem and goes_on.match(other) for file in files]
    return found[0] if len(found) == 1 else None


def _behind_root(root: Path, path: PurePosixPath, folders: dict[Path, _Folder]) -> PurePosixPath | None:
    """The part of a path behind the image folder's own name, where the folder has that and not the whole path.

    The folder also has it where it has files that differ in letters or by an ending; which one is meant is told later.
    """
    name = root.resolve().name
    if name not in path.parts[:-1] or ".." in path.parts or (not path.is_absolute() and os.path.lexists(root / path)):
        return None
    at = len(path.parts) - 1 - path.parts[::-1].index(name)
    rest = PurePosixPath(*path.parts[at + 1 :])
    if not rest.parts:
        return None
    other = path.is_absolute() or not os.path.isdir(root / path.parent)
    return rest if os.path.lexists(root / rest) or (other and _alike(root / rest, folders)[1]) else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _loose(stem: str) -> str:
    return LEADING_ZEROS.sub("", _folded(stem))


def _why_missing(root: Path, path: PurePosixPath, name: str, kind: str | None) -> str:
    said = f"image {name!r}"
    if kind == BACKSLASHES:
        said += f", whose backslashes were read as in '{path}',"
    if len(path.parts) > 1 and not os.path.isdir(root / path.parent):
        if os.path.isfile(root / path.name):
            return (
                f"{said} does not exist, but '{path.name}' is in '{root}'; remove '{path.parent}' from the names, or "
                "put the images into a folder of that name"
            )
        return f"{said} does not exist: '{root}' has no folder '{path.parent}'; mend the names or --images"
    return f"{said} does not exist in '{root}'; complete the image folder or mend the names"
