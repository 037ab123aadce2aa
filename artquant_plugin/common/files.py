"""Atomic writes: a reader sees the old file or folder or the new one, never a part of it."""

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
    """Write a file beside the target, then rename it to the target; on an error the target stays as it was.

    Args:
        path: the target, which is replaced when it exists; its folder is made when absent.
        mode: ``w`` for UTF-8 text whose line breaks are written as given, ``wb`` for bytes.

    Yields:
        The open file, which is closed and renamed when the block ends.
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
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that other users cannot read
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_files(folder: Path, *, last: str | tuple[str, ...], replaced: Sequence[str] = ()) -> Iterator[Path]:
    """Write several files of a folder together: they appear when the block ends without an error, or none does.

    Args:
        folder: where the files go; it is made when absent, and files of other names in it stay as they are. Only one
            process at a time may write it, because temporary folders that an interrupted process left in it are
            removed.
        last: name of the file by which readers recognise a complete folder, or several names, of which the last one
            is moved last of all. They are absent while the other files are moved, so that old and new files are never
            read together.
        replaced: names of files that are removed even where the block writes none of that name.

    Yields:
        A temporary folder; whatever the block writes to it is moved to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".part-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    at_the_end = (last,) if isinstance(last, str) else last
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
        part = Path(temporary)
        yield part
        for name in (*reversed(at_the_end), *replaced):
            (folder / name).unlink(missing_ok=True)
        written = {path.relative_to(part).as_posix(): path for path in sorted(part.rglob("*")) if path.is_file()}
        order = [name for name in written if name not in at_the_end]
        for name in [*order, *(name for name in at_the_end if name in written)]:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            written[name].chmod(0o666 & ~_umask())  # safetensors makes files that other users cannot read
            os.replace(written[name], target)


def link_file(source: Path, target: Path) -> None:
    """Give a file a second name: a hard link where the file system can, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_files(source: Path, target: Path) -> None:
    """Give every file of a folder, and of the folders in it, a second name in another folder, which must exist."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            link_file(path, copy)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Write a whole folder beside the target, then move it there; on an error the target stays as it was.

    Args:
        folder: the target, which is replaced with all its files when it exists. Only one process at a time may write
            it, because temporary folders that an interrupted process left beside it are removed.

    Yields:
        An empty temporary folder, which becomes the target when the block ends.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    target = folder.absolute()
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.part-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.part-"))
    try:
        new = part / "new"
        new.mkdir()
        yield new
        if target.exists():
            os.replace(target, part / "old")
        os.replace(new, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
