"""A checkpoint in the layout of the paper's code as a model in memory, or as a folder that `from_pretrained` loads."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from transformers import GenerationConfig

from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from artquant_plugin.backbones.mplug_owl2.original import OriginalCheckpoint, read_original
from artquant_plugin.checkpoint.library_errors import library_errors_in_one_line
from artquant_plugin.checkpoint.presets import choose_scoring
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files

SHARD_SIZE = "5GB"


def load_original(folder: Path, base: Path | None, options: dict[str, Any]) -> tuple[Any, Any]:
    """Load model and processor of a checkpoint in the layout of the paper's code.

    Args:
        folder: the local folder of a base model or of a LoRA checkpoint.
        base: the local folder of a LoRA checkpoint's base model; None for a base model.
        options: the options `dtype` and `attn_implementation` of `from_pretrained`.

    Returns:
        The model on the CPU with a LoRA checkpoint merged, and its processor.

    Raises:
        ArtQuantError: a file is missing, cannot be read, or is a pickle of more than tensors; or weights and
            configuration do not fit together.
    """
    original = _read(folder, base)
    model = MPLUGOwl2ForConditionalGeneration.from_pretrained(
        None, config=original.config, state_dict=original.weights, **options
    )
    return model, original.processor


def convert(
    source: Path, destination: Path, base: Path | None = None, spec: ScoringSpec | None = None
) -> OriginalCheckpoint:
    """Convert a checkpoint in the layout of the paper's code to ours: safetensors, processor and scoring file.

    Nothing is rounded: tensors that no LoRA matrix changes keep their type, and merged ones are float32.

    Args:
        source: the local folder of a base model or of a LoRA checkpoint.
        destination: the folder to be made; its files appear when all are written.
        base: the local folder of a LoRA checkpoint's base model; None for a base model.
        spec: what the scoring file is to say; None for what `choose_scoring` finds for the source.

    Returns:
        The checkpoint that was read and written.

    Raises:
        ArtQuantError: the source cannot be read, nothing says what the model is asked, or the destination exists.
    """
    if destination.exists():
        raise ArtQuantError(f"'{destination}' exists; name a new folder, or remove it first")
    spec = choose_scoring(spec, str(source), source)
    original = _read(source, base)
    if spec.chat_template is not None:
        original.processor.chat_template = spec.chat_template
    weights = {name: value.contiguous() for name, value in original.weights.items()}
    sizes: Counter[str] = Counter()
    for value in weights.values():
        sizes[str(value.dtype).removeprefix("torch.")] += value.numel()
    original.config.dtype = getattr(torch, sizes.most_common(1)[0][0])
    original.config.architectures = ["MPLUGOwl2ForConditionalGeneration"]
    with atomic_files(destination, last="config.json") as folder:
        save_torch_state_dict(weights, folder, filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD_SIZE)
        original.config.save_pretrained(folder)
        GenerationConfig.from_model_config(original.config).save_pretrained(folder)
        original.processor.save_pretrained(folder)
        spec.save(folder)
        record = {
            "source": source.name,
            "base": base.name if base else None,
            "scoring": spec.name,
            "weights": dict(sizes),
        }
        (folder / "conversion.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return original


def _read(folder: Path, base: Path | None) -> OriginalCheckpoint:
    """Read a checkpoint; what its JSON files lack, or have of another kind, is one line."""
    with library_errors_in_one_line(f"checkpoint '{folder}'", "fetch it again"):
        return read_original(folder, base)
