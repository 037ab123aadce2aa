"""Sizes of an mPLUG-Owl2; the defaults are those of mplug-owl2-llama2-7b."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class MPLUGOwl2VisionConfig(PreTrainedConfig):
    """The ViT, which sees a square image as patches and one class token."""

    model_type = "mplug_owl2_vision"
    base_config_key = "vision_config"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 448
    patch_size: int = 14
    num_channels: int = 3
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    initializer_range: float = 0.02

    @property
    def num_positions(self) -> int:
        """Patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1


@strict
class MPLUGOwl2AbstractorConfig(PreTrainedConfig):
    """The abstractor, whose queries gather an image into a few tokens."""

    model_type = "mplug_owl2_abstractor"
    base_config_key = "abstractor_config"

    hidden_size: int = 1024
    encoder_hidden_size: int = 1024
    intermediate_size: int = 2816
    num_hidden_layers: int = 6
    num_attention_heads: int = 16
    num_learnable_queries: int = 64
    grid_size: int = 32
    layer_norm_eps: float = 1e-6
    attention_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02


@strict
class MPLUGOwl2Config(LlamaConfig):
    """The whole model: a LLaMA's sizes, those of the ViT and of the abstractor, and the index of the image token.

    The image token has no row in the embedding, which keeps the original's number of rows; it stands for one of the
    abstractor's outputs.
    """

    model_type = "mplug_owl2"
    attribute_map = {"image_token_id": "image_token_index"}  # as generation calls it
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=MPLUGOwl2VisionConfig),
        "abstractor_config": SubConfigSpec(config_class=MPLUGOwl2AbstractorConfig),
    }

    vision_config: dict | PreTrainedConfig | None = None
    abstractor_config: dict | PreTrainedConfig | None = None
    image_token_index: int = 32000
    rms_norm_eps: float = 1e-5

    @property
    def vision(self) -> MPLUGOwl2VisionConfig:
        """Sizes of the ViT."""
        assert isinstance(self.vision_config, MPLUGOwl2VisionConfig)
        return self.vision_config

    @property
    def abstractor(self) -> MPLUGOwl2AbstractorConfig:
        """Sizes of the abstractor."""
        assert isinstance(self.abstractor_config, MPLUGOwl2AbstractorConfig)
        return self.abstractor_config

    @property
    def tokens_per_image(self) -> int:
        """Queries and the end-of-image token."""
        return self.abstractor.num_learnable_queries + 1

    @classmethod
    def from_original(cls, content: dict[str, Any]) -> "MPLUGOwl2Config":
        """The configuration of an original checkpoint's config.json (its ``visual_config`` has two sections)."""
        visual = content["visual_config"]
        named = {
            key: content[key]
            for key in (
                "vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "num_key_value_heads",
                "hidden_act",
                "max_position_embeddings",
                "rms_norm_eps",
                "initializer_range",
                "bos_token_id",
                "eos_token_id",
                "tie_word_embeddings",
            )
            if key in content
        }
        return cls(
            **named,
            rope_parameters={"rope_type": "default", "rope_theta": float(content.get("rope_theta", 10000.0))},
            image_token_index=content["vocab_size"],
            pad_token_id=0,
            vision_config=_section(MPLUGOwl2VisionConfig, visual["visual_model"]),
            abstractor_config=_section(MPLUGOwl2AbstractorConfig, visual["visual_abstractor"]),
        )


def _section(kind: type[PreTrainedConfig], content: dict[str, Any]) -> dict[str, Any]:
    """Those keys of an original section that are ours, too; the others are defaults of an old transformers."""
    ours = set(kind.__annotations__) | {"attention_probs_dropout_prob"}
    known = {key: value for key, value in content.items() if key in ours}
    if "attention_probs_dropout_prob" in known:
        known["attention_dropout"] = known.pop("attention_probs_dropout_prob")
    return known
