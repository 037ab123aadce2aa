"""The vision encoder (ViT) of mPLUG-Owl2."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, initialization
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2VisionConfig

QUICK_GELU = 1.702  # x · sigmoid(1.702 x), arXiv:1606.08415


def full_attention(module: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of every query to every key, through the implementation that the module's configuration names.

    Args:
        module: an attention module with the attributes `config`, `scaling`, `dropout` and `num_key_value_groups`.
        query: queries of L positions, shape (n, heads, L, head_dim).
        key: keys of M positions, shape (n, heads, M, head_dim).
        value: values of M positions, shape (n, heads, M, head_dim).

    Returns:
        The attended values, shape (n, L, heads · head_dim).
    """
    attention: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
        module.config._attn_implementation, eager_attention_forward
    )
    dropout = module.dropout if module.training else 0.0
    output, _ = attention(module, query, key, value, None, dropout=dropout, scaling=module.scaling, is_causal=False)
    return output.flatten(2)


class VisionEmbeddings(nn.Module):
    """Pixels (n, 3, size, size) -> class token and patches (n, positions, hidden)."""

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embed = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size, bias=False)
        self.position_embedding = nn.Parameter(torch.zeros(1, config.num_positions, config.hidden_size))
        self.pre_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patches = self.patch_embed(pixel_values).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.pre_layernorm(tokens + self.position_embedding)


class VisionAttention(nn.Module):
    """Self-attention with one projection for queries, keys and values, its outputs ordered [heads, 3, head_dim]."""

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = config.attention_dropout
        self.num_key_value_groups = 1
        self.is_causal = False
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = self.query_key_value(hidden).unflatten(-1, (self.heads, 3, self.head_dim))
        query, key, value = mixed.permute(3, 0, 2, 1, 4)
        return self.dense(full_attention(self, query, key, value))


class VisionMLP(nn.Module):
    """An MLP of two layers with QuickGELU, x · sigmoid(1.702 x), between them."""

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__()
        self.activation = ACT2FN[config.hidden_act]
        self.folds = config.hidden_act == "quick_gelu"
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        plain = type(self.fc1) is nn.Linear and type(self.fc2) is nn.Linear  # neither adapted nor quantised
        if not (self.folds and plain) or torch.is_grad_enabled() or hidden.device.type != "cpu":
            return self.fc2(self.activation(self.fc1(hidden)))
        # QuickGELU is silu(1.702 x) / 1.702. Both factors go into the matrix products, where they cost nothing. That
        # saves passes over memory, which on a CPU take 5 % of a forward pass.
        rows = hidden.flatten(0, 1)
        inner = torch.addmm(self.fc1.bias, rows, self.fc1.weight.T, beta=QUICK_GELU, alpha=QUICK_GELU)
        functional.silu(inner, inplace=True)
        return torch.addmm(self.fc2.bias, inner, self.fc2.weight.T, alpha=1 / QUICK_GELU).view_as(hidden)


class VisionLayer(GradientCheckpointingLayer):
    """A transformer layer with its norms before attention and MLP."""

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__()
        self.self_attn = VisionAttention(config)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden))
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class VisionEncoder(nn.Module):
    """The stack of layers, a module of its own because the original's state dict has its name in the keys."""

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class MPLUGOwl2VisionModel(PreTrainedModel):
    """Pixels (n, 3, size, size) -> hidden states (n, positions, hidden), the class token first."""

    config: MPLUGOwl2VisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["VisionLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: MPLUGOwl2VisionConfig) -> None:
        super().__init__(config)
        self.embeddings = VisionEmbeddings(config)
        self.encoder = VisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, VisionEmbeddings):
            initialization.normal_(module.cls_token, std=self.config.initializer_range)
            initialization.normal_(module.position_embedding, std=self.config.initializer_range)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Turn pixels of shape (n, 3, size, size) into hidden states of shape (n, positions, hidden)."""
        return self.post_layernorm(self.encoder(self.embeddings(pixel_values)))
