"""Checkpoints in the original's layout with random weights, written as its code writes them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from artquant_plugin.backbones.mplug_owl2.modeling import MPLUGOwl2ForConditionalGeneration
from tests.backbones.mplug_owl2.vocabulary import sentencepiece_model

CONFIG = {
    "model_type": "mplug_owl2",
    "vocab_size": 420,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "initializer_range": 0.2,
    "score_weight": [10.0, 7.5, 5.0, 3.5, 1.0],
    "visual_config": {
        "visual_model": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "initializer_range": 0.2,
            "layer_norm_eps": 1e-06,
        },
        "visual_abstractor": {
            "hidden_size": 16,
            "encoder_hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_learnable_queries": 4,
            "grid_size": 2,
            "initializer_range": 0.2,
            "layer_norm_eps": 1e-06,
        },
    },
}
PREPROCESSING = {
    "crop_size": 28,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "size": 28,
}
TARGETS = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj.multiway.1"]
RANK, ALPHA = 2, 6


def write_base(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING))
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MPLUGOwl2ForConditionalGeneration(MPLUGOwl2Config.from_original(CONFIG))
    save_file({name: value.half().float() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def write_lora(folder: Path, base: Path) -> Path:
    """A LoRA checkpoint, its own weights pickled."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    settings = {"base_model_name_or_path": str(base), "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    generator = torch.Generator().manual_seed(1)
    adapter = {}
    for target in TARGETS:
        adapter[f"base_model.model.{target}.lora_A.weight"] = torch.randn(RANK, 32, generator=generator)
        adapter[f"base_model.model.{target}.lora_B.weight"] = torch.randn(32, RANK, generator=generator)
    torch.save(adapter, folder / "adapter_model.bin")
    other = {
        "base_model.model.model.vision_model.post_layernorm.bias": torch.randn(16, generator=generator).bfloat16(),
        "base_model.model.model.visual_abstractor.vit_eos": torch.randn(1, 1, 32, generator=generator).bfloat16(),
    }
    torch.save(other, folder / "non_lora_trainables.bin")
    return folder
