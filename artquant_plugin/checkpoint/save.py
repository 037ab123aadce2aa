"""Writing checkpoints."""

from pathlib import Path
from typing import Any

from artquant_plugin.checkpoint.adapter import save_adapter
from artquant_plugin.checkpoint.spec import ScoringSpec


def save_checkpoint(folder: Path, model: Any, processor: Any, spec: ScoringSpec) -> None:
    """Write what `load_checkpoint` reads: safetensors, processor, tokenizer and the scoring file, which comes last.

    Args:
        folder: made when absent.
        model: a `transformers` model, or one with a peft adapter: then the adapter is written, and beside it
            (``extra_weights.safetensors``) what of the base requires gradients, such as a trained projector.
        processor: its processor.
        spec: the scoring file.
    """
    from peft import PeftModel

    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        save_adapter(model, folder)
    else:
        model.save_pretrained(folder)
    processor.save_pretrained(folder)
    spec.save(folder)
