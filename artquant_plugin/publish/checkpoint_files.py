"""From a checkpoint's folder to the files of its repository on the Hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from artquant_plugin.backbones import register_architecture
from artquant_plugin.checkpoint import ScoringSpec, load_processor
from artquant_plugin.checkpoint.adapter import EXTRA_FILE
from artquant_plugin.checkpoint.identity import weights_hash
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, CONFIG_FILE
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hashes import FileContent
from artquant_plugin.common.hub import fetch_snapshot
from artquant_plugin.common.secrets import without_secret_settings
from artquant_plugin.common.text import one_line
from artquant_plugin.publish.base_model import TRAINING_FILE, BaseCheckpoint, find_base, training_record
from artquant_plugin.publish.hub_errors import Target
from artquant_plugin.publish.model_card import PLOT_FILE, License, ModelCardFields, model_card, scatter
from artquant_plugin.publish.scoring_code import LoadingRecipe, scoring_code
from artquant_plugin.publish.scrub import check_no_home_folder, scrub
from artquant_plugin.publish.task_results import results_of
from artquant_plugin.publish.whitelist import CHECKPOINT, check_weights
from artquant_plugin.report.task_runs import holds_runs

RESULTS_FOLDER = "results"  # in a checkpoint's folder; the evaluation command that training prints writes there
_TRAINING_RECORDS = (TRAINING_FILE, "config.train.yaml", "training-curves.csv", "training-curves.png")
# The keys under which configurations keep the path that they were read from.
_PATH_KEYS = ("_name_or_path", "name_or_path")


@dataclass(frozen=True, slots=True)
class CollectedCheckpoint:
    """A checkpoint's files as they are published, without a card.

    Args:
        files: path in the repository -> file or content in memory.
        is_adapter: whether the files are an adapter, not a whole model.
        base: the base model on the Hub; None where the checkpoint has none there.
        weights: hashes of the weights that a result of this checkpoint may name: as it was trained, and merged.
        training: the record of the training, without paths of this machine; None where there is no record.
    """

    files: dict[str, FileContent]
    is_adapter: bool
    base: BaseCheckpoint | None
    weights: tuple[str, ...]
    training: dict[str, Any] | None


def repository_files(
    folder: Path,
    target: Target,
    *,
    base: str | None = None,
    license: License | None = None,
    results: Sequence[Path] = (),
    merged: Path | None = None,
) -> dict[str, FileContent]:
    """Collect all files of a checkpoint's repository, with its card.

    Args:
        folder: the folder of the checkpoint, as training wrote it.
        target: the repository to publish to.
        base: Hub id of the base model with an optional ``@revision``, where the adapter names a folder; it must hold
            the same weights as that folder. None to take what the checkpoint names.
        license: the license of the checkpoint; None to take that of the base model.
        results: the folders that lmms-eval's ``--output_path`` named. Where it is empty, the folder `RESULTS_FOLDER`
            of the checkpoint is read, if it holds results.
        merged: folder of the merged model, which is published instead of the adapter; None to publish the checkpoint
            as it is.

    Returns:
        Path in the repository -> file or content in memory.

    Raises:
        ArtQuantError: a file does not belong, is missing, or names a folder of this machine; no license is known; or a
            result was measured on other weights.
    """
    found = checkpoint_files(folder, base=base, merged=merged)
    origin = found.base
    chosen = chosen_license(folder, license, origin)
    folders = results or [path for path in [folder / RESULTS_FOLDER] if holds_runs(path)]
    measured = results_of(folders, found.weights, str(folder)) if folders else []
    code, known = _card_code(folder if merged is None else merged, target, origin, found.is_adapter)
    fields = ModelCardFields(
        target=target,
        base=origin.name if origin else None,
        base_revision=origin.revision if origin else None,
        is_adapter=found.is_adapter,
        license=chosen,
        spec=ScoringSpec.load(folder),
        training=found.training,
        results=tuple(measured),
        code=code,
        is_known=known,
    )
    files = {**found.files, "README.md": model_card(fields).encode()}
    if measured:
        files[PLOT_FILE] = scatter(measured)
    return check_no_home_folders(files)


def checkpoint_files(folder: Path, *, base: str | None = None, merged: Path | None = None) -> CollectedCheckpoint:
    """Collect the files of a checkpoint, without a card.

    Args:
        folder: the folder of the checkpoint, as training wrote it.
        base: Hub id of the base model with an optional ``@revision``; None to take what the checkpoint names.
        merged: folder of the merged model, which is published instead of the adapter; None to publish the checkpoint
            as it is.

    Raises:
        ArtQuantError: a file does not belong or is missing, or the base of an adapter is not on the Hub.
    """
    sources = source_files(folder)
    is_adapter = ADAPTER_CONFIG_FILE in sources and merged is None
    found = find_base(folder, sources, base, needed=is_adapter)
    weights = [weights_hash(folder)]
    if merged is not None:
        records = {name: path for name, path in sources.items() if name in _TRAINING_RECORDS}
        sources = {**records, **CHECKPOINT.files(merged)}
        weights.append(weights_hash(merged))
    files = {name: _cleaned(name, path) for name, path in sources.items()}
    if is_adapter:
        assert found is not None
        files[ADAPTER_CONFIG_FILE] = _adapter_config(folder, found)
    training = training_record(sources[TRAINING_FILE]) if TRAINING_FILE in sources else None
    return CollectedCheckpoint(files, is_adapter, found, tuple(weights), training)


def source_files(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint's folder, before paths of this machine are taken out of them.

    Args:
        folder: the folder of the checkpoint, as training wrote it.

    Returns:
        Path in the folder -> file.

    Raises:
        ArtQuantError: there is no such folder, it holds no checkpoint, or a file in it does not belong or cannot be
            read.
    """
    if not folder.is_dir():
        raise ArtQuantError(f"'{folder}' is no folder; name the one that training wrote")
    sources = CHECKPOINT.files(folder)
    if ADAPTER_CONFIG_FILE not in sources and CONFIG_FILE not in sources:
        raise ArtQuantError(f"'{folder}' holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; it is no checkpoint")
    check_weights(sources, folder)
    return sources


def chosen_license(folder: Path, given: License | None, base: BaseCheckpoint | None) -> License:
    """The license that the checkpoint is published under.

    Args:
        folder: the checkpoint's folder, for messages.
        given: the license that the user named; None to take that of the base model.
        base: the base model; None where it is not on the Hub.

    Raises:
        ArtQuantError: no license was given, and the base model names none.
    """
    chosen = given or (base.license if base else None)
    if chosen is None:
        raise ArtQuantError(
            f"the license of '{folder}' is not known{f', {base.name} names none' if base else ''}; pass --license "
            "with its id, such as apache-2.0, or --license other with --license-name"
        )
    return chosen


def check_no_home_folders(files: dict[str, FileContent]) -> dict[str, FileContent]:
    """Check that no text among the files names the home folder of a user.

    Args:
        files: path in the repository -> file or content in memory.

    Returns:
        The same files.

    Raises:
        ArtQuantError: a text names a home folder.
    """
    for name, content in files.items():
        check_no_home_folder(name, content if isinstance(content, bytes) else _searched_bytes(name, content))
    return files


def _searched_bytes(name: str, path: Path) -> bytes:
    """The bytes of a text file; none for weights, pictures and vocabularies in binary form, which are not searched."""
    return b"" if name.endswith((".safetensors", ".png", ".model")) else path.read_bytes()


def _cleaned(name: str, path: Path) -> FileContent:
    """A file as it is published. Records and configurations are returned without paths of this machine and secrets."""
    try:
        if name == "config.train.yaml":
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return yaml.safe_dump(scrub(content), sort_keys=False).encode()
        if name == TRAINING_FILE:
            return _json(training_record(path))
        if name in (CONFIG_FILE, "tokenizer_config.json", "processor_config.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            named = {key: scrub(content[key]) for key in _PATH_KEYS if key in content}
            cleaned = without_secret_settings(content | named)
            return _json(cleaned) if named or cleaned != content else path
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ArtQuantError(f"'{path}' cannot be read ({one_line(error)}); save the checkpoint again") from error
    return path


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _adapter_config(folder: Path, base: BaseCheckpoint) -> bytes:
    """The adapter's configuration, which names the base on the Hub in the place of a folder of this machine."""
    content = json.loads((folder / ADAPTER_CONFIG_FILE).read_text(encoding="utf-8"))
    content |= {"base_model_name_or_path": base.name, "revision": base.revision}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _card_code(folder: Path, target: Target, base: BaseCheckpoint | None, is_adapter: bool) -> tuple[str, bool]:
    """The card's code that scores an image, and whether `transformers` knows the architecture."""
    from transformers import AutoConfig

    if is_adapter:
        assert base is not None
        at = f"@{base.revision}" if base.revision else ""
        base_folder = fetch_snapshot(f"{base.name}{at}", only=[CONFIG_FILE])
    else:
        base_folder = folder
    register_architecture(base_folder)
    try:
        config = AutoConfig.from_pretrained(base_folder)
    except (OSError, ValueError, KeyError) as error:
        raise ArtQuantError(
            f"{base_folder / CONFIG_FILE} cannot be read ({one_line(error)}); save or fetch it again"
        ) from error
    known = type(config).__module__.startswith("transformers.")
    loading = LoadingRecipe(
        name=target.name,
        base=base.name if is_adapter and base else None,
        base_revision=base.revision if is_adapter and base else None,
        extra=is_adapter and (folder / EXTRA_FILE).is_file(),
        known=known,
    )
    processor = load_processor(folder, base_folder, str(folder), False)
    return scoring_code(loading, processor, ScoringSpec.load(folder)), known
