"""What a run starts with: data, scoring file, prompts, and the model with what of it is trained."""

from dataclasses import dataclass
from typing import Any

from accelerate import PartialState
from transformers import set_seed

from artquant_plugin.backbones.interface import core
from artquant_plugin.checkpoint import ScoringSpec, load_checkpoint
from artquant_plugin.common.device import default_device
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.train.config import TrainConfig
from artquant_plugin.train.mixture import Material, load_material
from artquant_plugin.train.parts import choose_trained
from artquant_plugin.train.tiny import build_tiny_model


@dataclass(frozen=True, slots=True)
class Setting:
    """What all stages share.

    Args:
        config: of the run.
        material: datasets and samples.
        spec: the scoring file that checkpoints get.
        processor: of the model.
        prompter: of processor and spec.
    """

    config: TrainConfig
    material: Material
    spec: ScoringSpec
    processor: Any
    prompter: Prompter


def prepare(config: TrainConfig) -> tuple[Setting, Any]:
    """Open the data, then load or build the model.

    Args:
        config: checked configuration.

    Returns:
        What all stages share, and the model that the first one begins with, on the CPU unless it is quantised.

    Raises:
        ArtQuantError: data or model are missing or do not fit.
    """
    material = load_material(config)
    spec = ScoringSpec(scale=config.levels.scale(), prompt=config.prompt.spec())
    model, processor = begin_model(config, spec, material)
    prompter = Prompter(processor, spec.prompt, spec.scale)
    return Setting(config, material, spec, processor, prompter), model


def begin_model(config: TrainConfig, spec: ScoringSpec, material: Material) -> tuple[Any, Any]:
    """Model and processor before the first step."""
    set_seed(config.seed)
    model, processor = _load(config, spec, material)
    model = choose_trained(model, config.trained)
    if config.train.gradient_checkpointing:
        core(model).activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model, processor


def _load(config: TrainConfig, spec: ScoringSpec, material: Material) -> tuple[Any, Any]:
    section = config.model
    if section.pretrained is not None:
        device = "cpu"
        if section.quantization is not None:  # while it is loaded, so that a GPU has to be named
            device = default_device()
            device = f"cuda:{PartialState().local_process_index}" if device == "cuda" else device
        checkpoint = load_checkpoint(
            section.pretrained,
            base=section.base,
            dtype=section.dtype,
            device=device,
            attn=section.attn,
            quantization=section.quantization,
            trust_remote_code=section.trust_remote_code,
        )
        return checkpoint.model, checkpoint.processor
    assert section.tiny is not None
    answers = [f"{spec.prompt.answer_prefix} {name}." for name in spec.scale.names]
    described = [sample for samples in material.samples.get("describe", ()) for sample in samples]
    descriptions = [sample.description for sample in described if sample.description]
    # Each prompt stands as often as its samples, or the merges would know the descriptions alone.
    texts = [spec.prompt.question, spec.prompt.describe_question, *answers] * max(len(descriptions), 1)
    return build_tiny_model(section.tiny, [*texts, *descriptions], config.seed)
