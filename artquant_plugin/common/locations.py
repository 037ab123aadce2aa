"""Locations of files: paths on this machine, and addresses that fsspec reads (hf://datasets/owner/name/file, s3://…)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import first_line

SAMPLED_FROM = 64 * 2**20  # bytes; bigger files are told apart by samples of their content
SAMPLES = 64
SAMPLE_SIZE = 64 * 2**10
TENSOR_SAMPLE = 4 * 2**10  # bytes of each tensor of a big safetensors file
HEADER_LIMIT = 100 * 2**20  # bytes of a safetensors file's header, as the format's own library allows them
QUICK_SAMPLE = 4 * 2**10
# First bytes of the formats that store pixels as they are: BMP, TIFF, and PNM's binary forms.
WITHOUT_COMPRESSION = (b"BM", b"II*\0", b"MM\0*", b"P4", b"P5", b"P6", b"P7")


def is_remote(location: str) -> bool:
    """Whether a location has a scheme, as ``hf://datasets/owner/name/train.parquet`` does."""
    return "://" in location


def suffix(location: str) -> str:
    """The suffix of a location's last part in lower case, with its dot; empty when there is none."""
    return PurePosixPath(location).suffix.lower()


def filesystem(location: str) -> tuple[Any, str]:
    """The fsspec file system of a location, and the path on it.

    Raises:
        ArtQuantError: the scheme is unknown, or the package that reads it is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise ArtQuantError(
            f"'{location}' cannot be read ({error}); use hf://, a local path or another scheme"
        ) from error


def open_binary(location: str) -> IO[bytes]:
    """Open a file for reading bytes. The caller closes it.

    Args:
        location: a path, in which ``~`` is not expanded, or an address with a scheme.

    Raises:
        ArtQuantError: there is no such file, it is a folder, a pipe or a device, or it cannot be read.
    """
    try:
        if not is_remote(location):
            local = Path(location)
            if local.exists() and not local.is_file() and not local.is_dir():  # reading a pipe may wait for ever
                raise ArtQuantError(f"'{location}' is a pipe or a device, not a file; write it to a file first")
            return local.open("rb")
        system, path = filesystem(location)
        return system.open(path, "rb")
    except FileNotFoundError as error:
        raise ArtQuantError(f"'{location}' does not exist; mend the path") from error
    except IsADirectoryError as error:
        raise ArtQuantError(f"'{location}' is a folder, not a file; name a file in it") from error
    except OSError as error:
        raise ArtQuantError(
            f"'{location}' cannot be read ({first_line(error)}); check the path and your access"
        ) from error


def content_key(location: str, *, whole: bool = False) -> str:
    """A short key of a file's content, by which a later run sees that the file is still the same.

    Args:
        location: a path, or an address on a file system that keeps a checksum, as the Hub does; of such a file only
            the size and the checksum are read.
        whole: read every byte of a local file. Otherwise a file above 64 MiB is told apart by its size, by 64
            samples of 64 KiB that are spread over it and, if it is a safetensors file, by 4 KiB of each tensor.

    Returns:
        16 hexadecimal digits, equal for equal content.
    """
    if is_remote(location):
        system, path = filesystem(location)
        return remote_key(system.info(path))
    size = Path(location).stat().st_size
    with Path(location).open("rb") as file:
        if whole or size <= SAMPLED_FROM:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        digest = hashlib.sha256(str(size).encode())
        spread = [(size - SAMPLE_SIZE) * sample // (SAMPLES - 1) for sample in range(SAMPLES)]
        for start, length in [*((start, SAMPLE_SIZE) for start in spread), *_tensor_samples(file, location)]:
            file.seek(start)
            digest.update(file.read(length))
    return digest.hexdigest()[:16]


def remote_key(info: Mapping[str, Any]) -> str:
    """A short key of a remote file's content.

    Args:
        info: what its file system says about the file, as fsspec's ``info`` returns it.

    Returns:
        16 hexadecimal digits, made of the size and of whatever checksum the file system keeps.
    """
    kept = {key: str(info[key]) for key in ("size", "blob_id", "lfs", "xet_hash", "ETag", "sha") if info.get(key)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def quick_key(paths: Iterable[Path]) -> str:
    """A short key of the contents of many local files, such as pictures, mostly by three short reads of each.

    Args:
        paths: the files, in an order that is part of the key. Files that are not there or cannot be read have a part
            in it as well, because they are rows of a result.

    Returns:
        16 hexadecimal digits, made of each file's size and of 4 KiB at its beginning, its middle and its end. Pictures
        of one format that differ, differ there, because encoders change the size or the end. Files of formats without
        compression, where a spot may change and nothing else, are read whole.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            size = path.stat().st_size if path.is_file() else None
            digest.update(f"\n{size}\n".encode())
            if size is not None:
                with path.open("rb") as file:
                    if file.read(4).startswith(WITHOUT_COMPRESSION):
                        file.seek(0)
                        digest.update(hashlib.file_digest(file, "sha256").digest())
                        continue
                    for start in (0, size // 2, max(size - QUICK_SAMPLE, 0)):
                        file.seek(start)
                        digest.update(file.read(QUICK_SAMPLE))
        except (OSError, ValueError):  # whoever scores the file says what is wrong with it
            digest.update(b"unreadable")
    return digest.hexdigest()[:16]


def _tensor_samples(file: IO[bytes], location: str) -> list[tuple[int, int]]:
    """Where each tensor of a safetensors file has its middle, and how much to read there; nothing of other files.

    Evenly spread samples miss a tensor that is shorter than their distance, and training may change only such ones.
    """
    if suffix(location) != ".safetensors":
        return []
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        return []
    try:
        header = json.loads(file.read(length))
        places = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
        samples = []
        for begin, end in places:
            middle = max(begin, (begin + end) // 2 - TENSOR_SAMPLE // 2)
            samples.append((8 + length + middle, min(TENSOR_SAMPLE, end - middle)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # whoever loads the file says what is wrong with it
    return samples
