"""Hashes of files as the Hub lists them, and the list of what was published."""

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
_INLINE = 10 * 2**20  # bytes; the Hub keeps bigger files by their SHA-256 alone
_CHUNK = 2**20

FileContent = Path | bytes


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's hashes: SHA-256, and git's for files that the Hub may keep inline."""

    sha256: str
    git: str | None

    def same(self, remote: Any) -> bool:
        """Whether a file on the Hub has this content."""
        return remote.lfs.sha256 == self.sha256 if remote.lfs else remote.blob_id == self.git


def size_of(content: FileContent) -> int:
    """Bytes of a content."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def digest_of(content: FileContent) -> Digest:
    """The hashes of a content, which is read once."""
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
    """The content of `RECORD_FILE` for files and their hashes."""
    files = {name: {"sha256": digest.sha256, "git": digest.git} for name, digest in digests.items()}
    return (json.dumps({"form_version": FORM_VERSION, "files": files}, indent=1) + "\n").encode()


def read_record(path: Path, repository: str) -> dict[str, Digest]:
    """The hashes in a `RECORD_FILE`.

    Args:
        path: of the file.
        repository: that it is of, for messages.

    Raises:
        ArtQuantError: it is none of ours, or of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["form_version"] != FORM_VERSION:
            raise ArtQuantError(
                f"{RECORD_FILE} of {repository!r} has form version {content['form_version']}, this release writes "
                f"{FORM_VERSION}; update artquant-plugin"
            )
        return {name: Digest(**digest) for name, digest in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ArtQuantError):
            raise
        raise ArtQuantError(
            f"{RECORD_FILE} of {repository!r} is none of artquant's ({one_line(error)}); remove it on the Hub, or "
            "name another repository"
        ) from error
