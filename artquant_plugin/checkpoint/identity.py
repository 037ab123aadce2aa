"""Which weights a checkpoint has, for results to say what they were measured on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.common.hub import commit_of
from artquant_plugin.data.images import sha256_file


@dataclass(frozen=True, slots=True)
class Identity:
    """What a result was measured on.

    Args:
        name: what the user typed, a folder by its name alone.
        revision: commit on the Hub; None for a folder of this machine.
        weights: hash of the weights.
    """

    name: str
    revision: str | None
    weights: str


def identify(pretrained: str, folder: Path) -> Identity:
    """The identity of a checkpoint.

    Args:
        pretrained: what the user typed.
        folder: where it is on this machine, see `locate`.
    """
    revision = commit_of(folder)
    name = pretrained.partition("@")[0] if revision else folder.resolve().name
    return Identity(name, revision, weights_hash(folder))


def weight_files(folder: Path) -> list[Path]:
    """The weights of a folder; pickles, those of the paper's own code, where it has no others."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def weights_hash(folder: Path) -> str:
    """SHA-256 over names and contents of the weights: of a model, or of an adapter and what stands beside it."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()
