"""The base model that a checkpoint was trained from: its place on the Hub, its revision, its license."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from artquant_plugin.checkpoint.adapter import base_of
from artquant_plugin.checkpoint.identity import weight_files
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import split_revision
from artquant_plugin.common.text import one_line
from artquant_plugin.publish.hashes import digest_of
from artquant_plugin.publish.hub_errors import Target, hub_errors
from artquant_plugin.publish.model_card import License
from artquant_plugin.publish.scrub import scrub

TRAINING_FILE = "training.json"


@dataclass(frozen=True, slots=True)
class BaseCheckpoint:
    """What a checkpoint was trained from.

    Args:
        name: id on the Hub.
        revision: commit, tag or branch.
        license: what its card says; None where it says nothing.
    """

    name: str
    revision: str | None
    license: License | None


def find_base(folder: Path, sources: dict[str, Path], given: str | None, *, needed: bool) -> BaseCheckpoint | None:
    """The base model on the Hub, its revision and license.

    Args:
        folder: of the checkpoint.
        sources: its files.
        given: what ``--base`` named.
        needed: whether what is published cannot be loaded without it.

    Raises:
        ArtQuantError: it is needed and is not on the Hub, or has other weights than the folder trained from.
    """
    named = _named_base(folder, sources)
    if given is None and (named is None or Path(named).expanduser().is_dir() or named.count("/") != 1):
        if needed:
            raise ArtQuantError(
                f"the base of the adapter in '{folder}' is {named!r}, a folder of this machine that nobody else has; "
                "publish it and pass --base ID[@REVISION], or pass --merge"
            )
        return None
    name, revision = split_revision(given or str(named))
    with hub_errors(Target(name)):
        try:
            info = HfApi().model_info(name, revision=revision)
        except RepositoryNotFoundError:
            if needed or given:
                raise
            return None
    found = revision or info.sha
    if given is not None and named is not None and Path(named).is_dir():
        _check_same(Path(named), name, found)
    card: Any = info.card_data or {}
    license = card.get("license")
    if not isinstance(license, str) or license in ("unknown", ""):
        return BaseCheckpoint(name, found, None)
    return BaseCheckpoint(name, found, License(license, card.get("license_name"), card.get("license_link")))


def _named_base(folder: Path, sources: dict[str, Path]) -> str | None:
    """What the checkpoint says that it was trained from: a folder, an id with its revision, or nothing."""
    if ADAPTER_CONFIG_FILE in sources:
        path = sources[ADAPTER_CONFIG_FILE]
        try:
            name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError) as error:
            raise ArtQuantError(f"'{path}' is no adapter's configuration ({one_line(error)})") from error
        # One that is gone may still be named by --base.
        return name if name and Path(name).is_absolute() and not Path(name).is_dir() else base_of(folder, str(folder))
    if TRAINING_FILE not in sources:
        return None
    return training_record(sources[TRAINING_FILE])["config"]["model"]["pretrained"]


def _check_same(folder: Path, name: str, revision: str | None) -> None:
    """Whether a base on the Hub has the weights of a folder.

    Raises:
        ArtQuantError: it has others, with which the adapter would give other scores.
    """
    with hub_errors(Target(name)):
        entries = list(HfApi().list_repo_tree(name, revision=revision))
    remote = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    if any(path.name not in remote or not digest_of(path).same(remote[path.name]) for path in weight_files(folder)):
        raise ArtQuantError(
            f"--base {name}@{revision} has other weights than '{folder}', on which the adapter was trained; publish "
            "that folder, or pass --merge"
        )


def training_record(path: Path) -> dict[str, Any]:
    """The record of a training, without places of this machine."""
    try:
        content = scrub(json.loads(path.read_text(encoding="utf-8")))
        if all(section in content["config"] for section in ("model", "data", "trained", "stages", "train")):
            return content
        reason = "sections are missing"
    except (ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
    raise ArtQuantError(f"'{path}' is no record of a training ({reason}); take it away, or train again")
