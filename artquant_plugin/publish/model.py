"""A checkpoint's folder -> the files of its repository."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import RepositoryNotFoundError

from artquant_plugin.backbones import register_architectures
from artquant_plugin.checkpoint import ScoringSpec, load_processor
from artquant_plugin.checkpoint.adapter import EXTRA_FILE, base_of, first_line
from artquant_plugin.checkpoint.identity import weights_hash
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, CONFIG_FILE, split_revision
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import sha256_file
from artquant_plugin.publish.card import PLOT_FILE, Facts, License, model_card, scatter
from artquant_plugin.publish.contents import CHECKPOINT, check_weights
from artquant_plugin.publish.lines import Loading, scoring_lines
from artquant_plugin.publish.repository import Content, Target, hub_errors
from artquant_plugin.publish.results import results_of
from artquant_plugin.publish.scrub import check_clean, scrub

RESULTS_FOLDER = "results"  # beside a checkpoint, where the command that training prints writes to
TRAINING_FILE = "training.json"
_OF_TRAINING = (TRAINING_FILE, "config.train.yaml", "training-curves.csv", "training-curves.png")
_NAMES = ("_name_or_path", "name_or_path")  # where configurations say what they were read from


@dataclass(frozen=True, slots=True)
class Base:
    """What a checkpoint was trained from.

    Args:
        name: id on the Hub.
        revision: commit, tag or branch.
        license: what its card says; None where it says nothing.
    """

    name: str
    revision: str | None
    license: License | None


def model_files(
    folder: Path,
    target: Target,
    *,
    base: str | None = None,
    license: License | None = None,
    results: Sequence[Path] = (),
    merged: Path | None = None,
) -> dict[str, Content]:
    """All files of a checkpoint's repository.

    Args:
        folder: of the checkpoint.
        target: where it goes.
        base: Hub id of the base model, where the adapter names a folder; must hold the same weights.
        license: of the checkpoint; that of the base when None.
        results: what lmms-eval's ``--output_path`` named; `RESULTS_FOLDER` in the folder when empty and there.
        merged: folder of the whole model, to publish in the place of the adapter.

    Returns:
        Path in the repository -> file or content.

    Raises:
        ArtQuantError: something does not belong, is missing, or would tell of this machine; no license is known; a
            result is of other weights.
    """
    if not folder.is_dir():
        raise ArtQuantError(f"'{folder}' is no folder; name the one that training wrote")
    sources = CHECKPOINT.files(folder)
    if ADAPTER_CONFIG_FILE not in sources and CONFIG_FILE not in sources:
        raise ArtQuantError(f"'{folder}' holds no {CONFIG_FILE} and no {ADAPTER_CONFIG_FILE}; it is no checkpoint")
    check_weights(sources, folder)
    is_adapter = ADAPTER_CONFIG_FILE in sources
    found = _base(folder, sources, base, target, needed=is_adapter and merged is None)
    chosen = license or (found.license if found else None)
    if chosen is None:
        raise ArtQuantError(
            f"the license of '{folder}' is not known{f', {found.name} names none' if found else ''}; pass --license, "
            "such as apache-2.0, or other and its name"
        )
    weights = {weights_hash(folder)}
    if merged is not None:
        records = {name: path for name, path in sources.items() if name in _OF_TRAINING}
        sources = {**records, **CHECKPOINT.files(merged)}
        weights.add(weights_hash(merged))
    files = {name: _cleaned(name, path) for name, path in sources.items()}
    if is_adapter and merged is None:
        assert found is not None
        files[ADAPTER_CONFIG_FILE] = _adapter_config(folder, found)
    places = results or ([folder / RESULTS_FOLDER] if (folder / RESULTS_FOLDER).is_dir() else [])
    measured = results_of(places, weights, str(folder)) if places else []
    whole = folder if merged is None else merged
    code, known = _code(whole, target, found, is_adapter and merged is None)
    facts = Facts(
        target=target,
        base=found.name if found else None,
        base_revision=found.revision if found else None,
        is_adapter=is_adapter and merged is None,
        license=chosen,
        spec=ScoringSpec.load(folder),
        training=_training(sources[TRAINING_FILE]) if TRAINING_FILE in sources else None,
        results=tuple(measured),
        code=code,
        is_known=known,
    )
    if measured:
        files[PLOT_FILE] = scatter(measured)
    files["README.md"] = model_card(facts).encode()
    for name, content in files.items():
        check_clean(name, content if isinstance(content, bytes) else _text(name, content))
    return files


def _text(name: str, path: Path) -> bytes:
    return b"" if name.endswith((".safetensors", ".png", ".model")) else path.read_bytes()


def _cleaned(name: str, path: Path) -> Content:
    """A file as it is published: records and configurations without paths of this machine."""
    try:
        if name == "config.train.yaml":
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return yaml.safe_dump(scrub(content), sort_keys=False).encode()
        if name == TRAINING_FILE:
            return _json(_training(path))
        if name in (CONFIG_FILE, "tokenizer_config.json", "processor_config.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            named = {key: scrub(content[key]) for key in _NAMES if key in content}
            return _json(content | named) if named else path
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ArtQuantError(f"'{path}' cannot be read ({first_line(error)}); save the checkpoint again") from error
    return path


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _training(path: Path) -> dict[str, Any]:
    """The record of a training, without places of this machine."""
    try:
        content = scrub(json.loads(path.read_text(encoding="utf-8")))
        if all(section in content["config"] for section in ("model", "data", "trained", "stages", "train")):
            return content
        reason = "sections are missing"
    except (ValueError, TypeError, KeyError) as error:
        reason = first_line(error)
    raise ArtQuantError(f"'{path}' is no record of a training ({reason}); take it away, or train again")


def _base(folder: Path, sources: dict[str, Path], given: str | None, target: Target, *, needed: bool) -> Base | None:
    """The base model on the Hub, its revision and license.

    Args:
        folder: of the checkpoint.
        sources: its files.
        given: what ``--base`` named.
        target: for messages.
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
            info = _api().model_info(name, revision=revision)
        except RepositoryNotFoundError:
            if needed or given:
                raise
            return None
    if given is not None and named is not None and Path(named).is_dir() and needed:
        _check_same(Path(named), name, revision or info.sha)
    card = info.card_data or {}
    license = card.get("license")
    if not isinstance(license, str) or license in ("unknown", ""):
        return Base(name, revision or info.sha, None)
    return Base(name, revision or info.sha, License(license, card.get("license_name"), card.get("license_link")))


def _named_base(folder: Path, sources: dict[str, Path]) -> str | None:
    """What the checkpoint says that it was trained from: a folder, an id with its revision, or nothing."""
    if ADAPTER_CONFIG_FILE in sources:
        path = sources[ADAPTER_CONFIG_FILE]
        try:
            name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError) as error:
            raise ArtQuantError(f"'{path}' is no adapter's configuration ({first_line(error)})") from error
        # One that is gone may still be named by --base.
        return name if name and Path(name).is_absolute() and not Path(name).is_dir() else base_of(folder, str(folder))
    if TRAINING_FILE not in sources:
        return None
    return _training(sources[TRAINING_FILE])["config"]["model"]["pretrained"]


def _check_same(folder: Path, name: str, revision: str) -> None:
    """Whether a base on the Hub has the weights of a folder.

    Raises:
        ArtQuantError: it has others, with which the adapter would give other scores.
    """
    with hub_errors(Target(name)):
        entries = list(_api().list_repo_tree(name, revision=revision))
    remote = {entry.path: entry.lfs.sha256 for entry in entries if getattr(entry, "lfs", None)}
    local = {path.name: sha256_file(path) for path in folder.glob("*.safetensors")}
    if any(remote.get(path) != sha256 for path, sha256 in local.items()):
        raise ArtQuantError(
            f"--base {name}@{revision} has other weights than '{folder}', on which the adapter was trained; publish "
            "that folder, or pass --merge"
        )


def _adapter_config(folder: Path, base: Base) -> bytes:
    content = json.loads((folder / ADAPTER_CONFIG_FILE).read_text(encoding="utf-8"))
    content |= {"base_model_name_or_path": base.name, "revision": base.revision}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _code(folder: Path, target: Target, base: Base | None, is_adapter: bool) -> tuple[str, bool]:
    """The card's lines, and whether `transformers` knows the architecture."""
    from huggingface_hub import hf_hub_download
    from transformers import AutoConfig

    register_architectures()
    if is_adapter:
        assert base is not None
        with hub_errors(Target(base.name)):
            base_folder = Path(hf_hub_download(base.name, CONFIG_FILE, revision=base.revision)).parent
    else:
        base_folder = folder
    try:
        config = AutoConfig.from_pretrained(base_folder)
    except (OSError, ValueError, KeyError) as error:
        raise ArtQuantError(f"{base_folder / CONFIG_FILE} cannot be read ({first_line(error)}); mend it") from error
    known = type(config).__module__.startswith("transformers.")
    loading = Loading(
        name=target.name,
        base=base.name if is_adapter and base else None,
        base_revision=base.revision if is_adapter and base else None,
        extra=is_adapter and (folder / EXTRA_FILE).is_file(),
        known=known,
    )
    processor = load_processor(folder, base_folder, str(folder), False)
    return scoring_lines(loading, processor, ScoringSpec.load(folder)), known


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(library_name="artquant-plugin")
