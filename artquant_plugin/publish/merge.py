"""Merging an adapter, and the weights that were trained beside it, into one whole model."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import private_folder
from artquant_plugin.common.run_record import only_writer


@contextmanager
def merged_checkpoint(folder: Path, *, base: str | None = None) -> Iterator[Path]:
    """Merge an adapter into a temporary folder, which exists while the block runs.

    A model that is merged takes many gigabytes. The folder has the same name for every process that merges the same
    checkpoint, so that what a killed one left is removed by the next one.

    Args:
        folder: the checkpoint's folder, as `merge_checkpoint` takes it.
        base: the base model, as `merge_checkpoint` takes it; None to take the one that the adapter names.

    Yields:
        The folder of the merged model.

    Raises:
        ArtQuantError: the checkpoint cannot be merged, another process is merging it, or temporary files cannot be
            written.
    """
    place = private_folder()
    merged = place / f"merged-{hashlib.sha256(bytes(folder.resolve())).hexdigest()[:16]}"
    with only_writer(merged.with_suffix(".lock"), merged, elsewhere="another folder as TMPDIR"):
        shutil.rmtree(merged, ignore_errors=True)
        try:
            merge_checkpoint(folder, merged, base=base)
            yield merged
        finally:
            shutil.rmtree(merged, ignore_errors=True)


def merge_checkpoint(folder: Path, destination: Path, *, base: str | None = None) -> None:
    """Merge an adapter into its base model, and write the whole model.

    The sums of base and adapter are computed and stored in float32. Weights that were not trained are stored in the
    base's own type, which holds them exactly, so that nothing is rounded.

    Args:
        folder: the checkpoint's folder, with an adapter and perhaps whole weights that were trained beside it.
        destination: the folder to write, which must not exist.
        base: id or folder of the adapter's base model; None to take the one that the adapter names.

    Raises:
        ArtQuantError: the checkpoint is no adapter, cannot be loaded, or has an adapter of a kind that cannot be
            merged.
    """
    from peft import PeftModel

    checkpoint = load_checkpoint(str(folder), base=base, dtype="float32")
    if not isinstance(checkpoint.model, PeftModel):
        raise ArtQuantError(f"'{folder}' is a whole model, with no adapter to merge; leave --merge out")
    _untie(checkpoint.model)
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


def _untie(model: Any) -> None:
    """Give an output head that the adapter changes weights of its own, where it shares them with the embedding.

    peft would otherwise merge the head's matrices into the embedding, which the adapter leaves as it is.
    """
    inner = core(model)
    head = inner.get_output_embeddings()
    plain = getattr(head, "base_layer", None)
    if plain is None or plain.weight is not inner.get_input_embeddings().weight:
        return
    plain.weight = type(plain.weight)(plain.weight.detach().clone(), requires_grad=False)
    for config in (inner.config, inner.config.get_text_config()):
        config.tie_word_embeddings = False


def _narrowest(value: Any, dtype: Any) -> Any:
    """The same numbers in the base's type, where that type holds them exactly, else unchanged."""
    import torch

    if not value.is_floating_point() or dtype == torch.float32:
        return value
    narrow = value.to(dtype)
    return narrow if torch.equal(narrow.float(), value) else value


def _stored_dtype(folder: Path, base: str | None) -> Any:
    """The type of the base model's weights, as its configuration names it; float32 where it names none."""
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
    """Write the base's type into the configuration, into which saving wrote the type of the first weight."""
    import json

    from artquant_plugin.checkpoint.locate import CONFIG_FILE
    from artquant_plugin.common.files import atomic_write

    path = folder / CONFIG_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content["dtype"] = str(dtype).removeprefix("torch.")
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
