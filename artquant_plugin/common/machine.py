"""Faults of this machine, told from faults of a file: the first stop a run, the second concern one file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from artquant_plugin.common.errors import MachineError
from artquant_plugin.common.text import one_line

# What the operating system says of a name or a file itself; everything else that it says is about the machine.
_OF_THE_FILE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EILSEQ,
    errno.EINVAL,
    errno.EEXIST,
)
_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), or use fewer workers",
    errno.ENFILE: "other programs hold too many files open: end some, or raise fs.file-max",
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EIO: "look for errors of the disk or the network storage (`dmesg`)",
    errno.ESTALE: "mount the network storage again",
    errno.ENOSPC: "make room on the disk",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), or name a disk that takes larger files",
    errno.EDQUOT: "make room in your quota of the disk",
    errno.EROFS: "name a place that can be written",
    errno.ENOMEM: "use fewer workers or smaller batches, or end other programs",
}


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error says something about this machine, and nothing about the file that was being read or written.

    Args:
        error: what was raised. Decoders raise an `OSError` without a number for a broken file, which is the file's
            fault; so is a file that does not exist, is a folder, or has an impossible name.
    """
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in _OF_THE_FILE
    # Torch raises the second for the memory of the CPU.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def machine_error(error: BaseException, doing: str) -> MachineError:
    """An error of the operating system as one line, with the remedy that fits it.

    Args:
        error: what `is_machine_fault` is true for.
        doing: what was being done, for example ``image 'a.jpg' cannot be read``.

    Example:
        >>> str(machine_error(OSError(28, "No space left on device"), "'out.csv' cannot be written"))
        "'out.csv' cannot be written: No space left on device; make room on the disk, then run again"
    """
    number = error.errno if isinstance(error, OSError) else errno.ENOMEM
    said = os.strerror(number) if number else one_line(error)
    remedy = _REMEDIES.get(number or 0, "mend that")
    return MachineError(f"{doing}: {said}; {remedy}, then run again")


@contextmanager
def machine_faults(doing: str) -> Iterator[None]:
    """A context whose faults of the machine, such as a full disk, become a `MachineError`; other errors pass.

    Args:
        doing: what fails then, for example ``'runs/rad' cannot be written``.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        if not is_machine_fault(error):
            raise
        raise machine_error(error, doing) from error
