"""Errors of the libraries that load checkpoints, as one line for the user."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line

# What the operating system says when it is this machine that fails, and what helps; the file is not to blame.
_OF_THIS_MACHINE = {
    errno.EACCES: "mend the permissions of the file",
    errno.EPERM: "mend the permissions of the file",
    errno.EMFILE: "let a process open more files (ulimit -n)",
    errno.ENFILE: "close programs that hold many files open",
    errno.EIO: "look after the disk, which fails to read",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.ENOMEM: "free memory",
    errno.ESTALE: "look after the network's disk, which lost the file",
}


@contextmanager
def library_errors_in_one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn what the libraries that read a checkpoint raise in a block into an `ArtQuantError`.

    Args:
        what: the thing that is loaded in the block, as the subject of the message.
        remedy: what the user can do where the error itself tells no better.

    Raises:
        ArtQuantError: the block failed. An `ArtQuantError` from inside the block passes through as it is.
    """
    try:
        yield
    except ArtQuantError:
        raise
    except Exception as error:  # `tokenizers` raises Exception itself, and a model's own code whatever it likes
        raise ArtQuantError(_told(what, error, remedy)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of libraries in Rust, for a file that they did not foresee
            raise
        raise ArtQuantError(_told(what, error, remedy)) from error


def _told(what: str, error: BaseException, remedy: str) -> str:
    """The message for an error, with the remedy that fits its cause."""
    from artquant_plugin.common.device import is_out_of_memory  # imports torch, which has failed or been imported

    reason = one_line(error)
    if is_out_of_memory(error):
        return f"{what} does not fit into memory ({reason}); load it with dtype=bfloat16 or quantization, or free some"
    if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
        return f"{what} cannot be read ({reason}); {_OF_THIS_MACHINE[error.errno]}"
    if "trust_remote_code" in str(error):
        return f"{what} needs Python code of its own; read it, then pass trust_remote_code=true"
    if isinstance(error, ImportError):
        return f"{what} needs a package that is not there ({reason}); install it"
    return f"{what} cannot be loaded ({reason}); {remedy}"
