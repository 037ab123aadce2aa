"""Writing files: whole or not at all, and never through a link that somebody else planted.

A reader of what the atomic functions write sees the old file or folder or the new one, never a part of it. Files that
the product makes under names of its own (journals, locks, stores) may lie in folders that others can write: they are
opened so that a symbolic link in their place is refused, because following it would write into another file.
"""

import glob
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from artquant_plugin.common.errors import ArtQuantError

# Windows lacks both flags; there, only `refuse_link` looks for links.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write a file beside the target, then rename it to the target; on an error the target stays as it was.

    Args:
        path: the target, which is replaced when it exists; its folder is made when absent.
        mode: ``w`` for UTF-8 text whose line breaks are written as given, ``wb`` for bytes.

    Yields:
        The open file, which is closed and renamed when the block ends.
    """
    with names_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            text = {"encoding": "utf-8", "newline": ""} if "b" not in mode else {}
            with os.fdopen(descriptor, mode, **text) as file:  # type: ignore[call-overload]
                yield file
                file.flush()
                _share(file.fileno(), temporary)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def names_file(path: Path) -> Iterator[None]:
    """Have the system's errors about a file that is being written name it, as a full disk, for example, does not.

    Args:
        path: the file, as the user knows it.

    Raises:
        OSError: what the block raised, with the file's path as its `filename` where it had none, or one of our
            temporary files.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).endswith(".tmp")):
            error.filename, error.filename2 = str(path), None
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left when `atomic_write` or `atomic_folder` was to write a file or folder.

    Args:
        path: the target of those writes. Only one process at a time may write it, because what a process that is
            still writing has made would be removed as well.
    """
    hidden = f".{glob.escape(path.name)}"
    for leftover in path.parent.glob(f"{hidden}.*.tmp"):
        leftover.unlink(missing_ok=True)
    for leftover in path.parent.glob(f"{hidden}.part-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def open_own(path: Path) -> IO[bytes]:
    """Open a file that only this product makes, for reading and for appending.

    Args:
        path: the file, which is made when absent.

    Returns:
        The open file, whose writes go to its end.

    Raises:
        ArtQuantError: a symbolic link, a folder, a device, a pipe, or a file that has a second name is in its place.
        OSError: it cannot be opened.
    """
    refuse_link(path)
    # O_NOFOLLOW holds when a link is planted after the check above; O_NONBLOCK, when a pipe is in the file's place.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_FOLLOW, 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        what = "has a second name" if stat.S_ISREG(found.st_mode) else "is no ordinary file"
        raise ArtQuantError(f"'{path}' {what}, and artquant writes this file itself; remove it")
    return os.fdopen(descriptor, "r+b")


def own_folder(path: Path) -> None:
    """Make a folder that only this product uses, with the folders above it.

    Args:
        path: the folder; nothing happens when it is there.

    Raises:
        ArtQuantError: a symbolic link is in its place.
        OSError: it cannot be made.
    """
    refuse_link(path)
    path.mkdir(parents=True, exist_ok=True)


def private_folder() -> Path:
    """The folder for temporary files that other users can neither read nor put a link into; it is made when absent.

    It lies where `tempfile` puts its files, has the same name for every process of the user, and stays there, so that
    a process finds and removes what a killed one left.

    Raises:
        ArtQuantError: a folder, link or file of somebody else is in its place, or others may write to it.
        OSError: it cannot be made.
    """
    user = os.getuid() if sys.platform != "win32" else "own"  # on Windows, each user has a folder of their own anyway
    path = Path(tempfile.gettempdir()) / f"artquant-{user}"
    refuse_link(path)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if sys.platform != "win32" and (found.st_uid != user or stat.S_IMODE(found.st_mode) & 0o077):
        raise ArtQuantError(
            f"'{path}' is not a folder that you alone can read and write; remove it, or set TMPDIR to a folder of "
            "your own"
        )
    return path


def refuse_link(path: Path) -> None:
    """Stop when a symbolic link is in the place of a file or folder that this product makes.

    Args:
        path: the file or folder, which need not exist.

    Raises:
        ArtQuantError: it is a symbolic link, wherever that leads.
    """
    if path.is_symlink():
        raise ArtQuantError(
            f"'{path}' is a symbolic link to '{os.readlink(path)}', and artquant writes this place itself; remove the "
            "link"
        )


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
    """Give a file a second name: a hard link where the file system can, else a copy.

    Raises:
        FileExistsError: the second name is taken, if only by a symbolic link.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as old, target.open("xb") as new:
            shutil.copyfileobj(old, new)


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
    remove_leftovers(target)
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


def _share(descriptor: int, path: Path) -> None:
    """Give a temporary file the mode of other new files, since `tempfile` makes files that other users cannot read.

    The mode is set through the descriptor, because somebody who can write the folder may have put a link in the place
    of the path.
    """
    if sys.platform == "win32":  # Python 3.11 changes modes by path alone there
        path.chmod(0o666)
    else:
        os.fchmod(descriptor, 0o666 & ~_umask())


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
