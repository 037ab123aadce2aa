"""The base model that a checkpoint was trained from: its id on the Hub, its revision and its license."""

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
from artquant_plugin.common.hashes import digest_of
from artquant_plugin.common.hub import split_revision
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import one_line
from artquant_plugin.publish.hub_errors import Target, hub_errors
from artquant_plugin.publish.model_card import License
from artquant_plugin.publish.scrub import scrub

TRAINING_FILE = "training.json"


@dataclass(frozen=True, slots=True)
class BaseCheckpoint:
    """The base model on the Hub that a checkpoint was trained from.

    Args:
        name: id of the base model on the Hub, ``namespace/name``.
        revision: commit, tag or branch of the base model; None only where the Hub names no commit.
        license: the license that the base model's card names; None where it names none.
    """

    name: str
    revision: str | None
    license: License | None


def find_base(folder: Path, sources: dict[str, Path], given: str | None, *, needed: bool) -> BaseCheckpoint | None:
    """Find the base model on the Hub, with its revision and license.

    Args:
        folder: the folder of the checkpoint, which the errors name.
        sources: the checkpoint's files; path in the folder -> file.
        given: the id that ``--base`` named, with an optional ``@revision``; None to take what the checkpoint names.
        needed: whether the published checkpoint cannot be loaded without its base, as an adapter cannot.

    Returns:
        The base model. None where it is not needed and not on the Hub, or the checkpoint names none.

    Raises:
        ArtQuantError: the base is needed or was given, and is not on the Hub; it holds other weights than the folder
            that the checkpoint was trained from; or the Hub does not answer.
    """
    named = _named_base(folder, sources)
    if given is None and (named is None or expanded(named).is_dir() or named.count("/") != 1):
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
        _check_same_weights(Path(named), name, found)
    card: Any = info.card_data or {}
    license = card.get("license")
    if not isinstance(license, str) or license in ("unknown", ""):
        return BaseCheckpoint(name, found, None)
    return BaseCheckpoint(name, found, License(license, card.get("license_name"), card.get("license_link")))


def _named_base(folder: Path, sources: dict[str, Path]) -> str | None:
    """The base that the checkpoint names: a folder, or an id with an optional revision; None where it names none."""
    if ADAPTER_CONFIG_FILE in sources:
        path = sources[ADAPTER_CONFIG_FILE]
        try:
            name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError) as error:
            raise ArtQuantError(
                f"'{path}' is no configuration of an adapter ({one_line(error)}); save the checkpoint again"
            ) from error
        # A base folder that is gone is no error here, since --base may say where the base is on the Hub.
        return name if name and Path(name).is_absolute() and not Path(name).is_dir() else base_of(folder, str(folder))
    if TRAINING_FILE not in sources:
        return None
    return training_record(sources[TRAINING_FILE])["config"]["model"]["pretrained"]


def _check_same_weights(folder: Path, name: str, revision: str | None) -> None:
    """Check that a base on the Hub has the same weights as a folder.

    Raises:
        ArtQuantError: it has other weights, with which the adapter would give other scores.
    """
    with hub_errors(Target(name)):
        listing = list(HfApi().list_repo_tree(name, revision=revision))
    remote = {item.path: item for item in listing if isinstance(item, RepoFile)}
    if any(path.name not in remote or not digest_of(path).same(remote[path.name]) for path in weight_files(folder)):
        raise ArtQuantError(
            f"--base {name}@{revision} has other weights than '{folder}', on which the adapter was trained; publish "
            "that folder, or pass --merge"
        )


def training_record(path: Path) -> dict[str, Any]:
    """Read the record of a training, with the paths of this machine shortened to their last part.

    Args:
        path: the ``training.json`` of a checkpoint.

    Raises:
        ArtQuantError: the file is no record of a training.
    """
    try:
        content = scrub(json.loads(path.read_text(encoding="utf-8")))
        if all(section in content["config"] for section in ("model", "data", "trained", "stages", "train")):
            return content
        reason = "sections are missing"
    except (ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
    raise ArtQuantError(f"'{path}' is no record of a training ({reason}); remove it, or train again")
