"""peft adapters, and the weights of the base model that were trained beside one (extra weights); safetensors only."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.files import check_safetensors
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE
from artquant_plugin.checkpoint.other_trainers import (
    base_in_arguments,
    check_further_weights,
    check_other_forms,
    grow_embeddings,
    use_todays_names,
)
from artquant_plugin.checkpoint.patterns import check_patterns
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.hub import is_hub_id, split_revision
from artquant_plugin.common.json_text import read_object
from artquant_plugin.common.paths import expanded
from artquant_plugin.common.text import listed, one_line

ADAPTER_FILE = "adapter_model.safetensors"
EXTRA_FILE = "extra_weights.safetensors"  # whole tensors under the keys of the base model's state dict
_PEFT_PREFIX = "base_model.model."  # peft puts it before the names of the base model's weights


def base_of(folder: Path, pretrained: str) -> str:
    """The base model that an adapter's configuration names.

    Where that is a folder that is not on this machine, the name in `args.json` counts, in which ms-swift keeps what
    its user called the base.

    Args:
        folder: the local folder of the adapter.
        pretrained: what the user typed for the adapter, for error messages.

    Returns:
        A folder that exists, or a Hub id with an optional ``@revision``.

    Raises:
        ArtQuantError: the configuration cannot be read, or it names no base model or a folder that does not exist.
    """
    path = folder / ADAPTER_CONFIG_FILE
    content = read_object(path, remedy="save the adapter again")
    name, revision = content.get("base_model_name_or_path"), content.get("revision")
    if revision is not None and not isinstance(revision, str):
        raise ArtQuantError(f"{path} has revision {one_line(repr(revision), 60)}, which is no text; save it again")
    if not name or not isinstance(name, str):
        raise ArtQuantError(f"adapter {pretrained!r} names no base; set base_model_name_or_path in {path}")
    if (found := _folder_of(folder, name)) is not None:
        return found
    identifier, own_revision = split_revision(name)
    if not is_hub_id(identifier):
        named = base_in_arguments(folder)
        if named is not None and (found := _folder_of(folder, named)) is not None:
            return found
        if named is not None and is_hub_id(split_revision(named)[0]):
            return named
        raise ArtQuantError(
            f"the base {name!r} of adapter {pretrained!r} is no folder and no Hub id; mend "
            f"base_model_name_or_path in {path}"
        )
    revision = own_revision or revision
    return f"{identifier}@{revision}" if revision else identifier


def _folder_of(adapter: Path, name: str) -> str | None:
    """A base model's folder; a relative path starts at the adapter's folder, or where training was started."""
    return next((str(path) for path in (adapter / name, expanded(name)) if path.is_dir()), None)


def adapter_config(folder: Path, pretrained: str) -> Any:
    """The `peft.PeftConfig` of an adapter that changes weights.

    Args:
        folder: the local folder of the adapter.
        pretrained: what the user typed for the adapter, for error messages.

    Raises:
        ArtQuantError: peft does not know the configuration, or the adapter is of a kind that moves the positions of
            tokens.
    """
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError) as error:
        raise ArtQuantError(
            f"{folder / ADAPTER_CONFIG_FILE} is unknown to peft ({one_line(error)}); update peft"
        ) from error
    if config.is_prompt_learning:
        raise ArtQuantError(
            f"adapter {pretrained!r} is of type {config.peft_type.value}, which moves the positions of tokens; "
            "use LoRA or another adapter of weights"
        )
    return config


def add_adapter(base: Any, config: Any, folder: Path, pretrained: str) -> Any:
    """Add an adapter to its base model; all of the adapter's weights must be there and fit.

    Args:
        base: the base model, a `transformers` model that is changed in place.
        config: the adapter's configuration, as `adapter_config` reads it.
        folder: the local folder of the adapter.
        pretrained: what the user typed for the adapter, for error messages.

    Returns:
        A `peft.PeftModel` whose adapter weights require gradients.

    Raises:
        ArtQuantError: a file is missing or cannot be read, or the adapter's names or shapes do not fit the base model.
    """
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    path = folder / ADAPTER_FILE
    if not path.is_file():
        check_other_forms(folder, pretrained, ADAPTER_FILE)
        raise ArtQuantError(
            f"adapter {pretrained!r} holds no {ADAPTER_FILE}; save it as safetensors, pickles are not read"
        )
    check_further_weights(folder, pretrained, (ADAPTER_FILE, EXTRA_FILE))
    weights = _read_tensors(path)
    check_patterns(config, (name for name, _ in base.named_modules()), str(folder / ADAPTER_CONFIG_FILE))
    misfit = f"adapter {pretrained!r} does not fit its base {type(base).__name__}"
    remedy = f"name the base that it was trained on in {ADAPTER_CONFIG_FILE}"
    try:
        use_todays_names(config, base, weights)
        grow_embeddings(base, weights)
        with warnings.catch_warnings():
            # A matrix on a head that is the embedding as well changes the head alone; merging knows that.
            warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
            model: Any = PeftModel(base, config, autocast_adapter_dtype=False)
        model.set_requires_grad("default", requires_grad=True)
        own = get_peft_model_state_dict(model, save_embedding_layers=False)
        for name, value in weights.items():
            if name in own and value.shape != own[name].shape:
                shapes = f"{name} has shape {list(value.shape)}, there {list(own[name].shape)}"
                raise ArtQuantError(f"{misfit}: {shapes}; {remedy}")
        result: Any = set_peft_model_state_dict(model, weights)
    except ArtQuantError:
        raise
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise ArtQuantError(f"{misfit} ({one_line(error)}); {remedy}") from error
    if result.unexpected_keys:
        raise ArtQuantError(f"{misfit}: {listed(sorted(result.unexpected_keys), 2)} match nothing in it; {remedy}")
    added = {name for name, _ in model.named_parameters() if _is_adapter(name, model)}
    if missing := added.intersection(result.missing_keys):
        raise ArtQuantError(f"adapter {pretrained!r} lacks {listed(sorted(missing), 2)}; save it again, or {remedy}")
    return model


def load_extra_weights(base: Any, folder: Path) -> None:
    """Copy a checkpoint's extra weights into its base model.

    Args:
        base: the base model, a `transformers` model without its adapter, which is changed in place.
        folder: the local folder of the checkpoint; nothing is done where it holds no extra weights.

    Raises:
        ArtQuantError: the file cannot be read, or a name or a shape does not fit the base model.
    """
    import torch

    path = folder / EXTRA_FILE
    if not path.is_file():
        return
    weights = _read_tensors(path)
    own = base.state_dict()
    remedy = "use the base model that they were trained with"
    if unknown := [name for name in weights if name not in own]:
        raise ArtQuantError(f"{path}: {listed(sorted(unknown), 2)} match nothing in {type(base).__name__}; {remedy}")
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise ArtQuantError(
                f"{path}: {name} has shape {list(value.shape)}, {type(base).__name__} has {list(own[name].shape)}; "
                f"{remedy}"
            )
        with torch.no_grad():
            own[name].copy_(value)


def extra_names(folder: Path) -> list[str]:
    """The names of a checkpoint's extra weights, read without the weights themselves.

    Args:
        folder: the local folder of the checkpoint.

    Returns:
        Keys of the base model's state dict; empty where the checkpoint has no extra weights.

    Raises:
        ArtQuantError: the file of the extra weights cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / EXTRA_FILE
    if not path.is_file():
        return []
    check_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except SafetensorError as error:
        raise ArtQuantError(f"{path} cannot be read ({one_line(error)}); fetch it again") from error


def mark_trained(model: Any, names: Iterable[str]) -> None:
    """Have extra weights require gradients, so that they are trained on and saved again beside the adapter.

    Args:
        model: a `peft.PeftModel`, whose base model has the weights.
        names: keys of the base model's state dict, as `extra_names` returns them.
    """
    extra = set(names)
    for name, parameter in model.get_base_model().named_parameters():
        if _base_name(name) in extra:
            parameter.requires_grad_(True)


def restore_adapter(model: Any, folder: Path) -> None:
    """Copy a checkpoint's adapter and extra weights into a model that has such an adapter, without rounding.

    Args:
        model: a `peft.PeftModel` with the adapter and the types that it had when `save_adapter` wrote the folder.
        folder: the local folder of the checkpoint.

    Raises:
        ArtQuantError: a file cannot be read, or the model has other weights than the checkpoint.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = _read_tensors(folder / ADAPTER_FILE)
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    extra = _read_tensors(folder / EXTRA_FILE) if (folder / EXTRA_FILE).is_file() else {}
    parameters = {_base_name(name): parameter for name, parameter in model.get_base_model().named_parameters()}
    if set(weights) != set(own) or not set(extra) <= set(parameters):
        odd = listed(sorted((set(weights) ^ set(own)) | (set(extra) - set(parameters))), 2)
        raise ArtQuantError(
            f"{folder} does not fit the model ({odd}); resume with the configuration that the run began with"
        )
    set_peft_model_state_dict(model, weights)
    for name, value in extra.items():
        parameters[name].data.copy_(value)


def save_adapter(model: Any, folder: Path, state_dict: dict[str, Any] | None = None) -> None:
    """Write an adapter, its configuration, and the extra weights that were trained beside it.

    Args:
        model: a `peft.PeftModel`. Weights of its base model that require gradients are the extra weights.
        folder: an existing folder, to which the files are written.
        state_dict: all weights of the model, gathered from several processes; None where `model` itself has them.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    card = folder / "README.md"
    had_card = card.exists()
    # With the default of `save_embedding_layers`, peft asks the Hub about the base's vocabulary at every save.
    model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state_dict)
    if not had_card:
        card.unlink(missing_ok=True)  # peft's template of a model card, which says nothing about this adapter
    _name_base(folder / ADAPTER_CONFIG_FILE)
    adapter = get_peft_model_state_dict(model, save_embedding_layers=False, state_dict=state_dict)
    gathered = state_dict or {}
    extra = {
        _base_name(name): gathered.get(_PEFT_PREFIX + name, parameter).detach().cpu().contiguous()
        for name, parameter in model.get_base_model().named_parameters()
        if parameter.requires_grad
        and not _is_adapter(_PEFT_PREFIX + name, model)
        and _PEFT_PREFIX + name not in adapter
    }
    if extra:
        save_file(extra, folder / EXTRA_FILE, metadata={"format": "pt"})


def _name_base(path: Path) -> None:
    """Move the base model's revision from behind its ``@`` to the key where peft looks for it."""
    from artquant_plugin.common.files import atomic_write

    content = json.loads(path.read_text(encoding="utf-8"))
    name = content.get("base_model_name_or_path")
    if name and not Path(name).is_dir():
        identifier, revision = split_revision(name)
        content["base_model_name_or_path"] = identifier
        content["revision"] = revision or content.get("revision")
        with atomic_write(path) as file:
            file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _is_adapter(name: str, model: Any) -> bool:
    """Whether peft added the parameter of this name: to the adapter itself, or as the trained copy of a module."""
    parts = name.split(".")
    return any(part.startswith(model.base_model.prefix) for part in parts) or bool(
        {"modules_to_save", "token_adapter"}.intersection(parts)
    )


def _base_name(name: str) -> str:
    """The name that a parameter has in the base model without an adapter."""
    return name.replace(".base_layer.", ".")


def _read_tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_safetensors(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtQuantError(f"{path} cannot be read ({one_line(error)}); fetch it again") from error
