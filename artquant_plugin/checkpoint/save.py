"""Writing checkpoints, and restoring their weights in a model."""

from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.adapter import EXTRA_FILE, restore_adapter, save_adapter
from artquant_plugin.checkpoint.load import load_checkpoint
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, CONFIG_FILE
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files
from artquant_plugin.common.text import one_line


def save_checkpoint(
    folder: Path, model: Any, processor: Any, spec: ScoringSpec, state_dict: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint that `load_checkpoint` reads: weights in safetensors, processor and scoring file.

    The files appear together when all are written.

    Args:
        folder: where the files go; it is made when absent, and files of the same names are replaced.
        model: a `transformers` model, or a `peft.PeftModel`. Of the latter the adapter is written, and in
            ``extra_weights.safetensors`` the weights of the base model that require gradients, such as a projector's.
        processor: the model's `transformers` processor, with its tokenizer.
        spec: the contents of the scoring file.
        state_dict: all weights of the model, gathered from several processes; None where `model` itself has them.
    """
    from peft import PeftModel

    is_adapter = isinstance(model, PeftModel)
    last = ADAPTER_CONFIG_FILE if is_adapter else CONFIG_FILE  # without which `locate` finds no checkpoint
    with atomic_files(folder, last=last, replaced=(EXTRA_FILE,)) as part:
        if is_adapter:
            save_adapter(model, part, state_dict)
        else:
            model.save_pretrained(part, state_dict=state_dict)
        processor.save_pretrained(part)
        spec.save(part)


def restore_weights(model: Any, folder: Path) -> None:
    """Copy a checkpoint's weights into the model that it was saved from, without rounding.

    Args:
        model: the `transformers` model or `peft.PeftModel`, whose weights have the types that they are stored in.
        folder: a folder that `save_checkpoint` wrote.

    Raises:
        ArtQuantError: the checkpoint cannot be read, or belongs to another model.
    """
    from peft import PeftModel

    if isinstance(model, PeftModel):
        restore_adapter(model, folder)
        return
    # float32 holds every value of the narrower types, so that the copy back to a weight's own type rounds nothing.
    saved = load_checkpoint(str(folder), dtype="float32", scoring=ScoringSpec()).model
    try:
        model.load_state_dict(saved.state_dict())
    except RuntimeError as error:
        raise ArtQuantError(
            f"{folder} does not fit the model ({one_line(error)}); resume with the configuration that the run "
            "began with"
        ) from error
