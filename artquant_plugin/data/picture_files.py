"""Opening files that are meant to be pictures, without waiting for pipes; a machine's fault is told from a file's."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Literal

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.locations import is_remote
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import one_line
from artquant_plugin.data.picture_kinds import HEAD_BYTES, FileKind, kind_of

Reason = Literal["missing", "not_an_image", "broken", "too_large", "outside_folder"]

# What a path can be that is no file of bytes.
FOLDER = FileKind("a folder", "folders", remedy="name a file")
FIFO = FileKind("a named pipe", "named pipes", remedy="replace it with the picture's file")
SOCKET = FileKind("a socket", "sockets", remedy="replace it with the picture's file")
DEVICE = FileKind("a device", "devices", remedy="replace it with the picture's file")
NOTHING = FileKind("a link that leads nowhere", "links that lead nowhere", remedy="mend the link")


class ImageError(ArtQuantError):
    """An image that cannot be used.

    Args:
        message: one line with file, rule and remedy.
        reason: the kind of failure, for reports and counts.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, Reason]]:
        """Travel between processes with the reason."""
        return ImageError, (str(self), self.reason)


def refuse_address(name: str) -> None:
    """Refuse an address in the place of a file's path; pictures are read from files and fetched from nowhere.

    Args:
        name: what a table names as the image, such as ``http://host/a.jpg`` or ``hf://datasets/owner/name/a.jpg``.

    Raises:
        ImageError: it is an address.
    """
    if is_remote(name):
        raise ImageError(
            f"image {name!r} is an address, and addresses in tables are not fetched; download the image, and write "
            "the path of its file",
            "missing",
        )


def open_picture_file(path: Path) -> BinaryIO:
    """Open a file for reading; a named pipe, a socket, a device or a folder in its place is refused without waiting.

    Args:
        path: of the file; symbolic links are followed.

    Raises:
        ImageError: nothing is there, or something that is no file of bytes, or the path is impossible.
        MachineError: this machine does not let the file be opened: too few open files, no right, a failing disk.
    """
    try:
        _refuse_special(path, os.stat(path).st_mode)  # before it is opened, which alone can set a device going
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _refuse_special(path, os.fstat(descriptor).st_mode)  # it may have been replaced in between
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except FileNotFoundError as error:
        what = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise ImageError(f"image '{path}' {what}; mend the path or the image folder", "missing") from error
    except OSError as error:
        if is_machine_fault(error):
            raise machine_error(error, f"image '{path}' cannot be read") from error
        raise ImageError(f"image '{path}' cannot be opened ({error.strerror}); mend the path", "missing") from error
    except ImageError:
        raise
    except ValueError as error:  # a zero byte, or a character that no file name can hold
        raise ImageError(f"image {str(path)!r} is no possible path ({one_line(error)}); mend it", "missing") from error


def read_picture_file(path: Path) -> bytes:
    """The whole content of a file that `open_picture_file` opens.

    Args:
        path: of the file; symbolic links are followed.

    Raises:
        ImageError: nothing is there, or something that is no file of bytes, or the path is impossible.
        MachineError: this machine does not let the file be read.
    """
    with open_picture_file(path) as file:
        try:
            return file.read()
        except (OSError, MemoryError) as error:
            raise machine_error(error, f"image '{path}' cannot be read") from error


def file_kind(path: Path) -> FileKind:
    """What a path leads to, decided by the file's first bytes and never by its ending.

    Args:
        path: of a file, or of anything else; symbolic links are followed.

    Returns:
        A kind of `artquant_plugin.data.picture_kinds`, or `FOLDER`, `FIFO`, `SOCKET`, `DEVICE`, `NOTHING`.

    Raises:
        MachineError: this machine does not let the file be read.
    """
    try:
        special = _special(os.stat(path).st_mode)
    except OSError as error:
        if is_machine_fault(error):
            raise machine_error(error, f"'{path}' cannot be looked at") from error
        return NOTHING
    except ValueError:  # a zero byte, or a character that no file name can hold
        return NOTHING
    if special is not None:
        return special
    try:
        with open_picture_file(path) as file:
            return kind_of(read_head(file, f"'{path}'"))
    except ImageError:  # it was replaced or removed in between
        return NOTHING


def read_head(file: BinaryIO, name: str) -> bytes:
    """The first bytes of a file, as many as `kind_of` wants.

    Args:
        file: opened for reading, at its beginning.
        name: the file's name in messages, with its quotes.

    Raises:
        MachineError: the disk or the network storage fails.
    """
    try:
        return file.read(HEAD_BYTES)
    except OSError as error:
        raise machine_error(error, f"{name} cannot be read") from error


def _refuse_special(path: Path, mode: int) -> None:
    kind = _special(mode)
    if kind is not None:
        raise ImageError(f"'{path}' is {kind.name}, not an image; {kind.remedy}", "not_an_image")


def _special(mode: int) -> FileKind | None:
    """What stands in the place of a file, by the mode that the operating system gives; None for a file of bytes."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return FOLDER
    if stat.S_ISFIFO(mode):
        return FIFO
    return SOCKET if stat.S_ISSOCK(mode) else DEVICE
