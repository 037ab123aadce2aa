"""The identity of a checkpoint's weights, by which results tell what they were measured on."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.hashes import digest_of_kept
from artquant_plugin.common.hub import commit_of, split_revision
from artquant_plugin.common.locations import content_key

MODEL_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".jinja", ".txt")  # of the files that loading reads


@dataclass(frozen=True, slots=True)
class Identity:
    """The checkpoint that a result was measured on.

    Args:
        name: the Hub id without its revision, or the last part of a local folder's path.
        revision: the commit on the Hub, 40 hexadecimal digits; None for a local folder.
        weights: hash of the weight files, as `weights_hash` returns it.
    """

    name: str
    revision: str | None
    weights: str


def identify(pretrained: str, folder: Path) -> Identity:
    """The identity of a checkpoint; its weight files are read to the end.

    Args:
        pretrained: what the user typed, a folder or a Hub id with an optional ``@revision``.
        folder: the local folder that `locate` returned for it.
    """
    revision = commit_of(folder)
    name = split_revision(pretrained)[0] if revision else folder.resolve().name
    return Identity(name, revision, weights_hash(folder))


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder, sorted by name: safetensors, or where there are none the pickles."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def weights_hash(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the names and contents of a folder's weight files, extra weights included."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        digest.update(f"{path.name} {digest_of_kept(path).sha256}\n".encode())
    return digest.hexdigest()


def files_hash(folders: Iterable[Path]) -> str:
    """SHA-256, in hexadecimal, over the names and contents of the files that a score depends on.

    Weights alone do not decide a score: the scoring file, the processor, the tokenizer and the chat template do, too.

    Args:
        folders: the checkpoint's folder, and the one of its base model where it has one.
    """
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(b"folder\n")
        for path in _loaded_files(folder):
            digest.update(f"{path.name} {digest_of_kept(path).sha256}\n".encode())
    return digest.hexdigest()


def file_keys(folder: Path) -> dict[str, str]:
    """A key of each file from which a checkpoint is loaded, at the cost of samples of the big ones.

    Args:
        folder: the local folder of the checkpoint.

    Returns:
        The keys of `content_key` by the files' names.
    """
    return {path.name: content_key(str(path)) for path in _loaded_files(folder)}


def _loaded_files(folder: Path) -> list[Path]:
    """The files of a folder from which a checkpoint is loaded, by name; training.json only records the training."""
    files = sorted(file for file in folder.iterdir() if file.suffix in MODEL_SUFFIXES and file.is_file())
    return [file for file in files if not file.name.startswith(".") and file.name != "training.json"]
