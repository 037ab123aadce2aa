"""Where inputs are: files here, or anything that fsspec reads (hf://datasets/owner/name/file, s3://…)."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import IO, Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import first_line
from artquant_plugin.data.images import sha256_file

SAMPLED_FROM = 64 * 2**20  # bytes; bigger files are told apart by samples of their content
SAMPLES = 64
SAMPLE_SIZE = 64 * 2**10


def is_remote(location: str) -> bool:
    """Whether a location names a file system, such as ``hf://datasets/owner/name/train.parquet``."""
    return "://" in location


def suffix(location: str) -> str:
    """Lower-case suffix of a location's last part."""
    return PurePosixPath(location).suffix.lower()


def filesystem(location: str) -> tuple[Any, str]:
    """The file system (fsspec) of a location, and the path on it.

    Raises:
        ArtQuantError: no such protocol, or its package is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise ArtQuantError(f"'{location}' cannot be read ({error}); use hf://, a local path or another scheme") from (
            error
        )


def open_binary(location: str) -> IO[bytes]:
    """Open for reading.

    Raises:
        ArtQuantError: there is no such file, or it cannot be read.
    """
    try:
        if not is_remote(location):
            return Path(location).open("rb")
        system, path = filesystem(location)
        return system.open(path, "rb")
    except FileNotFoundError as error:
        raise ArtQuantError(f"'{location}' does not exist; mend the path") from error
    except OSError as error:
        reason = first_line(error)
        raise ArtQuantError(f"'{location}' cannot be read ({reason}); check the path and your access") from error


def content_key(location: str, *, whole: bool = False) -> str:
    """A short name of a file's content.

    Args:
        location: local, or on a file system that keeps a checksum (the Hub does).
        whole: hash every byte; else big files are told apart by their size and samples of 64 KiB spread over them.

    Returns:
        Hexadecimal digits; equal for equal content.
    """
    if is_remote(location):
        system, path = filesystem(location)
        info = system.info(path)
        kept = {key: str(info[key]) for key in ("size", "blob_id", "lfs", "xet_hash", "ETag", "sha") if info.get(key)}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    file_path = Path(location)
    size = file_path.stat().st_size
    if whole or size <= SAMPLED_FROM:
        return sha256_file(file_path)[:16]
    digest = hashlib.sha256(str(size).encode())
    with file_path.open("rb") as file:
        for sample in range(SAMPLES):
            file.seek((size - SAMPLE_SIZE) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_SIZE))
    return digest.hexdigest()[:16]
