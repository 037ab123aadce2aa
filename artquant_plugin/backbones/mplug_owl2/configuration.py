"""The configuration of an mPLUG-Owl2; the defaults are the sizes of mplug-owl2-llama2-7b."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class MPLUGOwl2VisionConfig(PreTrainedConfig):
    """The configuration of the ViT, which reads a square image as patches and one class token."""

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
        """The number of an image's positions in the ViT: its patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1


@strict
class MPLUGOwl2AbstractorConfig(PreTrainedConfig):
    """The configuration of the abstractor, whose queries gather an image's patches into a few tokens."""

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
    """The configuration of the whole model: that of a LLaMA, of the ViT, of the abstractor, and the image token's id.

    The embedding has no row for the image token and so as many rows as the original's. Each image token in the input
    is replaced by one of the abstractor's outputs.
    """

    model_type = "mplug_owl2"
    attribute_map = {"image_token_id": "image_token_index"}  # the name that transformers' generation uses
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
        """The configuration of the ViT, with its own type."""
        assert isinstance(self.vision_config, MPLUGOwl2VisionConfig)
        return self.vision_config

    @property
    def abstractor(self) -> MPLUGOwl2AbstractorConfig:
        """The configuration of the abstractor, with its own type."""
        assert isinstance(self.abstractor_config, MPLUGOwl2AbstractorConfig)
        return self.abstractor_config

    @property
    def tokens_per_image(self) -> int:
        """How many tokens an image has in the language model: one per query, and the end-of-image token."""
        return self.abstractor.num_learnable_queries + 1

    @classmethod
    def from_original(cls, content: dict[str, Any]) -> "MPLUGOwl2Config":
        """Convert the config.json of a checkpoint in the layout of the paper's code.

        Args:
            content: the JSON object of the file, whose ``visual_config`` has a section for the ViT and one for the
                abstractor.

        Raises:
            KeyError: a section or the size of the vocabulary is missing.
        """
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
    """The keys of a section that our configuration has, too; the others are defaults of an old transformers."""
    ours = set(kind.__annotations__) | {"attention_probs_dropout_prob"}
    known = {key: value for key, value in content.items() if key in ours}
    if "attention_probs_dropout_prob" in known:
        known["attention_dropout"] = known.pop("attention_probs_dropout_prob")
    return known
