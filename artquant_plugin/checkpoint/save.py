"""Writing checkpoints."""

from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.adapter import EXTRA_FILE, save_adapter
from artquant_plugin.checkpoint.locate import ADAPTER_CONFIG_FILE, CONFIG_FILE
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.files import atomic_files


def save_checkpoint(folder: Path, model: Any, processor: Any, spec: ScoringSpec) -> None:
    """Write what `load_checkpoint` reads: safetensors, processor, tokenizer and the scoring file, together.

    Args:
        folder: made when absent.
        model: a `transformers` model, or one with a peft adapter: then the adapter is written, and beside it
            (``extra_weights.safetensors``) what of the base requires gradients, such as a trained projector.
        processor: its processor.
        spec: the scoring file.
    """
    from peft import PeftModel

    is_adapter = isinstance(model, PeftModel)
    last = ADAPTER_CONFIG_FILE if is_adapter else CONFIG_FILE  # without which `locate` takes a folder for none
    with atomic_files(folder, last=last, replaced=(EXTRA_FILE,)) as part:
        if is_adapter:
            save_adapter(model, part)
        else:
            model.save_pretrained(part)
        processor.save_pretrained(part)
        spec.save(part)
