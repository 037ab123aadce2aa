"""Writing checkpoints, and putting their weights back."""

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
    """Write what `load_checkpoint` reads: safetensors, processor, tokenizer and the scoring file, together.

    Args:
        folder: made when absent.
        model: a `transformers` model, or one with a peft adapter: then the adapter is written, and beside it
            (``extra_weights.safetensors``) what of the base requires gradients, such as a trained projector.
        processor: its processor.
        spec: the scoring file.
        state_dict: the model's weights, where they are spread over processes and were gathered.
    """
    from peft import PeftModel

    is_adapter = isinstance(model, PeftModel)
    last = ADAPTER_CONFIG_FILE if is_adapter else CONFIG_FILE  # without which `locate` takes a folder for none
    with atomic_files(folder, last=last, replaced=(EXTRA_FILE,)) as part:
        if is_adapter:
            save_adapter(model, part, state_dict)
        else:
            model.save_pretrained(part, state_dict=state_dict)
        processor.save_pretrained(part)
        spec.save(part)


def restore_weights(model: Any, folder: Path) -> None:
    """Put a checkpoint's weights into the model that it was saved from, rounding nothing.

    Args:
        model: a `transformers` model or one with a peft adapter, with its weights as they are stored.
        folder: what `save_checkpoint` wrote.

    Raises:
        ArtQuantError: the checkpoint cannot be read or is of another model.
    """
    from peft import PeftModel

    if isinstance(model, PeftModel):
        restore_adapter(model, folder)
        return
    # In float32 whatever the files hold: going back to a narrower type that a weight had rounds nothing.
    saved = load_checkpoint(str(folder), dtype="float32").model
    try:
        model.load_state_dict(saved.state_dict())
    except RuntimeError as error:
        raise ArtQuantError(
            f"{folder} does not fit the model ({one_line(error)}); resume with the configuration of before"
        ) from error
