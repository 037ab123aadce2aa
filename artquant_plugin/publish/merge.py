"""An adapter and all that was trained beside it, as one model."""

from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint import load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError


def merge_checkpoint(folder: Path, destination: Path, *, base: str | None = None) -> None:
    """Write the whole model of an adapter's checkpoint.

    The sums of base and adapter are computed and kept in float32. What was not trained keeps the type that the base
    has, which holds it exactly: nothing is rounded.

    Args:
        folder: of the checkpoint; an adapter, and perhaps weights beside it (vision tower, projector, abstractor).
        destination: folder to be made.
        base: the adapter's base model, where it is not the one that the adapter names.

    Raises:
        ArtQuantError: the checkpoint is no adapter, cannot be loaded, or its adapter is of a kind that has no sum.
    """
    from peft import PeftModel

    checkpoint = load_checkpoint(str(folder), base=base, dtype="float32")
    if not isinstance(checkpoint.model, PeftModel):
        raise ArtQuantError(f"'{folder}' is a whole model, with no adapter to merge; leave --merge out")
    try:
        model: Any = checkpoint.model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ArtQuantError(
            f"the adapter in '{folder}' cannot be merged ({error}); publish it as it is, without --merge"
        ) from error
    stored = _stored_dtype(folder, base)
    model.config.dtype = stored
    save_checkpoint(
        destination,
        model,
        checkpoint.processor,
        checkpoint.spec,
        {name: _narrowest(value, stored) for name, value in model.state_dict().items()},
    )
    _keep_dtype(destination, stored)


def _narrowest(value: Any, dtype: Any) -> Any:
    """The same numbers in the base's type where that holds them exactly."""
    import torch

    if not value.is_floating_point() or dtype == torch.float32:
        return value
    narrow = value.to(dtype)
    return narrow if torch.equal(narrow.float(), value) else value


def _stored_dtype(folder: Path, base: str | None) -> Any:
    """The type of the base model's weights, as its configuration names it."""
    import json

    import torch

    from artquant_plugin.checkpoint import locate
    from artquant_plugin.checkpoint.adapter import base_of
    from artquant_plugin.checkpoint.locate import CONFIG_FILE, OTHER_WEIGHTS

    path = locate(base or base_of(folder, str(folder)), ignore=OTHER_WEIGHTS) / CONFIG_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = (content, content.get("text_config", {}))
    named = next((part[key] for part in parts for key in ("dtype", "torch_dtype") if part.get(key)), "float32")
    return getattr(torch, named)


def _keep_dtype(folder: Path, dtype: Any) -> None:
    """Have the configuration name the base's type: saving writes the type of the first weight."""
    import json

    from artquant_plugin.checkpoint.locate import CONFIG_FILE
    from artquant_plugin.common.files import atomic_write

    path = folder / CONFIG_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content["dtype"] = str(dtype).removeprefix("torch.")
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
