"""Hashes of files' contents, in the two forms by which the Hub names contents."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from artquant_plugin.common.machine import is_machine_fault, machine_error

_INLINE = 10 * 2**20  # bytes; of bigger files the Hub always lists the SHA-256, so that no git hash is needed
_CHUNK = 2**20  # bytes that are read at once

FileContent = Path | bytes


@dataclass(frozen=True, slots=True)
class Digest:
    """The hashes of a file's content.

    Args:
        sha256: SHA-256 in hexadecimal digits, which the Hub lists for files in LFS.
        git: SHA-1 of the git blob in hexadecimal digits, which the Hub lists for files outside LFS; None for files of
            more than 10 MiB, which are always in LFS.
    """

    sha256: str
    git: str | None

    def same(self, remote: Any) -> bool:
        """Whether a file on the Hub has this content.

        Args:
            remote: the file as the Hub lists it, a `huggingface_hub.RepoFile`.
        """
        return remote.lfs.sha256 == self.sha256 if remote.lfs else remote.blob_id == self.git


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits.

    Raises:
        MachineError: this machine does not let the file be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if is_machine_fault(error):
            raise machine_error(error, f"'{path}' cannot be read") from error
        raise


def size_of(content: FileContent) -> int:
    """The size of a file or of a content in memory, in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def digest_of(content: FileContent) -> Digest:
    """Compute the hashes of a file, which is read once, or of a content in memory."""
    size = size_of(content)
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if size <= _INLINE else None
    if isinstance(content, bytes):
        sha256.update(content)
        if git:
            git.update(content)
    else:
        with content.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                if git:
                    git.update(chunk)
    return Digest(sha256.hexdigest(), git.hexdigest() if git else None)


def digest_of_kept(path: Path) -> Digest:
    """Like `digest_of`, but a file that did not change since the process last hashed it is not read again.

    Args:
        path: a file; symbolic links are followed. It counts as unchanged while inode, size and time of change are.
    """
    stat = path.stat()
    return _digest_of_state(os.path.realpath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_state(path: str, inode: int, size: int, changed: int) -> Digest:
    return digest_of(Path(path))
