"""Atomic writes: a reader sees the old file or the new one, never a part."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write beside the target, then rename over it; on an error the target stays as it was.

    Args:
        path: the target; its folder is made when absent.
        mode: ``w`` for UTF-8 text with line breaks as given, ``wb`` for bytes.

    Yields:
        The open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        text = {"encoding": "utf-8", "newline": ""} if "b" not in mode else {}
        with os.fdopen(descriptor, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's own mode would hide the file from other users
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_files(folder: Path, *, last: str, replaced: Sequence[str] = ()) -> Iterator[Path]:
    """Write files of a folder together: all of them appear once the last one is written, or none does.

    Args:
        folder: made when absent; files of other names stay as they are.
        last: name of the file by which a reader knows the folder as complete. It is absent while the others are moved,
            so that files of before and after are never read together.
        replaced: names of files of before that go even where none of their name is written now.

    Yields:
        A temporary folder to write them to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
        part = Path(temporary)
        yield part
        for name in (last, *replaced):
            (folder / name).unlink(missing_ok=True)
        for path in sorted(part.rglob("*"), key=lambda path: path.name == last):
            if path.is_file():
                target = folder / path.relative_to(part)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.chmod(0o666 & ~_umask())  # safetensors writes for its owner's eyes alone
                os.replace(path, target)


def link_file(source: Path, target: Path) -> None:
    """Have a file under a second name, without a copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Write a folder beside its place, then move it there; on an error what was there stays.

    Args:
        folder: replaced when it exists. One process at a time may write it: what an earlier one left is removed.

    Yields:
        A temporary folder to write files to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.absolute()
    for left in place.parent.glob(f".{glob.escape(place.name)}.part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.part-"))
    try:
        new = part / "new"
        new.mkdir()
        yield new
        if place.exists():
            os.replace(place, part / "old")
        os.replace(new, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
