"""Checkpoints on the Hub as they are written.

The Trainer's hub strategy says when: at every save, unless the checkpoint before is still on its way. What goes is
what `artquant publish model` would send, in one commit each: no optimizer, no pickles, no places of this machine.
"""

import shutil
import tempfile
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import get_args

from huggingface_hub import HfApi

from artquant_plugin.common.errors import ArtQuantError, ArtQuantWarning
from artquant_plugin.common.files import link_file
from artquant_plugin.common.paths import expanded
from artquant_plugin.publish.checkpoint_files import check_no_home_folders, checkpoint_files
from artquant_plugin.publish.hub_errors import Target, hub_errors
from artquant_plugin.publish.model_card import progress_card
from artquant_plugin.publish.repository import Publication
from artquant_plugin.publish.whitelist import CHECKPOINT
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.sections import PartName


def check_push(config: TrainConfig) -> None:
    """See that `train.push_to_hub` can be written to, before anything is loaded; nothing is written.

    Args:
        config: Configuration of the run; nothing is checked where it names no repository.

    Raises:
        ArtQuantError: no token, a namespace of somebody else, files of others in the way, or an adapter whose base
            nobody else has.
    """
    name = config.repository
    if name is None:
        if config.train.push_to_hub:
            raise ArtQuantError(
                "train.push_to_hub is true and names no repository; set it to NAMESPACE/NAME, or add "
                "train.hub_model_id"
            )
        return
    target = Target(name)
    adapted = any(getattr(config.trained, part).method == "lora" for part in get_args(PartName))
    start = config.model.pretrained
    if adapted and start is not None and expanded(start).is_dir():
        raise ArtQuantError(
            f"train.push_to_hub would put an adapter on the Hub whose base {start!r} is a folder of this machine; "
            "publish the base and name it by its id, or leave train.push_to_hub out"
        )
    with hub_errors(target):
        account = HfApi().whoami()
    spaces = [account["name"], *(group["name"] for group in account.get("orgs", []))]
    if target.name.partition("/")[0] not in spaces:
        raise ArtQuantError(
            f"train.push_to_hub {name!r} is in a namespace of somebody else; yours: {', '.join(spaces)}"
        )
    Publication(target, {"README.md": progress_card(target, None, "none yet").encode()}, CHECKPOINT).plan()


def push_checkpoint(folder: Path, name: str, state: str) -> "Future[None]":
    """Send a checkpoint in a thread of the Hub's client; what goes wrong is a warning, as the run goes on.

    Args:
        folder: Folder of the checkpoint; its files are linked first, since a run removes its older checkpoints.
        name: Name of the repository, ``NAMESPACE/NAME``.
        state: Which checkpoint it is, for the card and the commit's message.
    """
    return HfApi().run_as_future(_push_and_remove, _linked(folder), name, state)


def push_last(config: TrainConfig) -> None:
    """Send the checkpoint that a run ended with, where `train.push_to_hub` is set.

    Args:
        config: Configuration of the run; nothing is sent where it names no repository.

    Raises:
        ArtQuantError: it cannot be sent; it is whole in the output folder.
    """
    name = config.repository
    if name is None:
        return
    try:
        with hub_errors(Target(name), writes=True):
            HfApi().create_repo(name, private=True, exist_ok=True)
        linked = _linked(config.output)  # the stages of the run still lie beside the checkpoint
        try:
            _push(linked, name, "the last one")
        finally:
            shutil.rmtree(linked, ignore_errors=True)
    except ArtQuantError as error:
        raise ArtQuantError(
            f"{config.output} is whole, but was not sent ({error}); send it with `artquant publish model "
            f"{config.output} --repo {name}`"
        ) from error


def _linked(folder: Path) -> Path:
    """A folder beside a checkpoint's, with links to those of its files that belong on the Hub."""
    linked = Path(tempfile.mkdtemp(prefix=".push-", dir=folder.parent))
    for file, path in CHECKPOINT.chosen(folder).items():
        (linked / file).parent.mkdir(parents=True, exist_ok=True)
        link_file(path, linked / file)
    return linked


def _push_and_remove(folder: Path, name: str, state: str) -> None:
    try:
        _push(folder, name, state)
    except ArtQuantError as error:
        warnings.warn(f"checkpoint {state} was not sent to the Hub: {error}", ArtQuantWarning, stacklevel=2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _push(folder: Path, name: str, state: str) -> None:
    target = Target(name)
    found = checkpoint_files(folder)
    card = progress_card(target, found.base.name if found.base else None, state)
    files = check_no_home_folders({**found.files, "README.md": card.encode()})
    Publication(target, files, CHECKPOINT).run(f"Checkpoint: {state}", lambda line: None)
