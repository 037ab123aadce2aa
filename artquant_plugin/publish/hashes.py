"""Hashes of files as the Hub lists them, and the record of what was published, `published.json`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line

RECORD_FILE = "published.json"
FORM_VERSION = 1
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


def record_content(digests: Mapping[str, Digest]) -> bytes:
    """The content of the record `published.json`.

    Args:
        digests: the hashes of the published files by their paths in the repository.
    """
    files = {name: {"sha256": digest.sha256, "git": digest.git} for name, digest in digests.items()}
    return (json.dumps({"form_version": FORM_VERSION, "files": files}, indent=1) + "\n").encode()


def read_record(path: Path, repository: str) -> dict[str, Digest]:
    """Read the hashes in a record `published.json`.

    Args:
        path: the downloaded record, an existing file.
        repository: id of the repository that it was downloaded from, for messages.

    Returns:
        The hashes of the files of earlier publications, by their paths in the repository.

    Raises:
        ArtQuantError: artquant did not write the file, or wrote it in another version of the format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form_version"] != FORM_VERSION:
            raise ArtQuantError(
                f"{RECORD_FILE} of {repository!r} has form version {content['form_version']}, while this release "
                f"reads {FORM_VERSION}; update artquant-plugin"
            )
        return {name: Digest(**digest) for name, digest in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(
            f"{RECORD_FILE} of {repository!r} was not written by artquant ({one_line(error)}); remove it on the "
            "Hub, or name another repository"
        ) from error
