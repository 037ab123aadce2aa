"""An original checkpoint -> a model in memory, or a folder that `from_pretrained` loads."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from transformers import GenerationConfig

from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from artquant_plugin.backbones.mplug_owl2.original import Original, read_original
from artquant_plugin.checkpoint.spec import ScoringSpec
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec

SHARD_SIZE = "5GB"


def published_spec(original: Original) -> ScoringSpec:
    """How the published weights are scored: image last, no system sentence, images as they are stored.

    Source: GitHub Henglin-Liu/ArtQuant at f6b1fca, whose evaluation asks so; another prompt or image handling would
    change the scores.
    """
    scale = LevelScale() if original.level_values is None else LevelScale(values=original.level_values)
    return ScoringSpec(scale=scale, prompt=PromptSpec(image_first=False), images="as_stored")


def load_original(folder: Path, base: Path | None, options: dict[str, Any]) -> tuple[Any, Any, ScoringSpec]:
    """Model, processor and scoring file of an original checkpoint.

    Args:
        folder: a base model or a LoRA checkpoint.
        base: folder of the base model of a LoRA checkpoint.
        options: dtype and attention of `from_pretrained`.

    Raises:
        ArtQuantError: see `read_original`.
    """
    original = read_original(folder, base)
    model = MPLUGOwl2ForConditionalGeneration.from_pretrained(
        None, config=original.config, state_dict=original.weights, **options
    )
    return model, original.processor, published_spec(original)


def convert(source: Path, destination: Path, base: Path | None = None) -> Original:
    """Write an original checkpoint in our format: safetensors, configuration, processor, scoring file.

    Nothing is rounded: tensors that training did not touch keep their type, merged ones are float32.

    Args:
        source: folder of a base model or of a LoRA checkpoint.
        destination: folder to be made; it appears when it is complete.
        base: folder of the base model of a LoRA checkpoint.

    Returns:
        What was read.

    Raises:
        ArtQuantError: the source cannot be read, or the destination exists.
    """
    if destination.exists():
        raise ArtQuantError(f"'{destination}' exists; name a new folder, or remove it first")
    original = read_original(source, base)
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
        published_spec(original).save(folder)
        record = {"source": source.name, "base": base.name if base else None, "weights": dict(sizes)}
        (folder / "conversion.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return original
