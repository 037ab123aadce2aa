"""The LLaMA of mPLUG-Owl2, whose norms, keys and values have separate weights for text and for image tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config

TEXT, IMAGE = 0, 1  # indices into the module lists `multiway`, which the original's state dict names so


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Which of a batch's tokens belong to images; computed once per forward pass and used by every layer.

    Args:
        mask: True for image tokens, shape (n, L, 1).
        text: indices of the T text tokens in the batch flattened to n · L tokens, shape (T,).
        image: indices of the image tokens in the same flattened batch, shape (n · L - T,).
    """

    mask: Tensor
    text: Tensor
    image: Tensor

    @classmethod
    def find(cls, mask: Tensor) -> "ImageTokens":
        """Find the tokens in a bool tensor of shape (n, L) that is True for image tokens."""
        flat = mask.flatten()
        return cls(mask[..., None], (~flat).nonzero().squeeze(1), flat.nonzero().squeeze(1))


class MultiwayRMSNorm(nn.Module):
    """A root-mean-square norm with one weight vector for text tokens and one for image tokens."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.multiway = nn.ModuleList([LlamaRMSNorm(size, eps=eps), LlamaRMSNorm(size, eps=eps)])

    def forward(self, hidden: Tensor, images: ImageTokens | None) -> Tensor:
        text, image = (cast(Tensor, norm.weight) for norm in self.multiway)
        weight = text if images is None else torch.where(images.mask, image, text)
        normed = functional.rms_norm(hidden.float(), hidden.shape[-1:], eps=self.eps)
        return weight * normed.to(hidden.dtype)


class MultiwayLinear(nn.Module):
    """A linear layer with one matrix for text tokens and one for image tokens."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.multiway = nn.ModuleList([nn.Linear(inputs, outputs, bias=bias), nn.Linear(inputs, outputs, bias=bias)])

    def forward(self, hidden: Tensor, images: ImageTokens | None) -> Tensor:
        if images is None:
            return self.multiway[TEXT](hidden)
        flat = hidden.flatten(0, 1)
        text, image = self.multiway[TEXT](flat[images.text]), self.multiway[IMAGE](flat[images.image])
        output = text.new_empty(len(flat), text.shape[-1])
        return (
            output.index_copy(0, images.text, text).index_copy(0, images.image, image).unflatten(0, hidden.shape[:2])
        )


class LanguageMLP(LlamaMLP):
    """LLaMA's SwiGLU MLP, with its products transposed for scoring on a CPU."""

    def forward(self, hidden: Tensor) -> Tensor:
        layers = (self.gate_proj, self.up_proj, self.down_proj)
        # Adapted and quantised layers have other types.
        plain = all(type(layer) is nn.Linear and layer.bias is None for layer in layers)
        if not plain or self.config.hidden_act != "silu" or torch.is_grad_enabled() or hidden.device.type != "cpu":
            return super().forward(hidden)
        # With some dozen to some hundred rows, weights @ rows is 6 to 12 % faster than rows @ weights (MKL).
        rows = hidden.flatten(0, 1).T
        gate = functional.silu(self.gate_proj.weight @ rows, inplace=True)
        return (self.down_proj.weight @ gate.mul_(self.up_proj.weight @ rows)).T.unflatten(0, hidden.shape[:2])


class LanguageAttention(nn.Module):
    """Causal self-attention with rotary position embeddings."""

    def __init__(self, config: MPLUGOwl2Config, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        heads = config.num_attention_heads
        key_heads = config.num_key_value_heads or heads
        self.head_dim = config.head_dim or config.hidden_size // heads
        self.num_key_value_groups = heads // key_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        width, keys = heads * self.head_dim, key_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.attention_bias)
        self.k_proj = MultiwayLinear(config.hidden_size, keys, bias=config.attention_bias)
        self.v_proj = MultiwayLinear(config.hidden_size, keys, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=config.attention_bias)

    def forward(
        self,
        hidden: Tensor,
        images: ImageTokens | None,
        positions: tuple[Tensor, Tensor],
        mask: Any,
        cache: Cache | None,
    ) -> Tensor:
        query = self._split(self.q_proj(hidden))
        key, value = self._split(self.k_proj(hidden, images)), self._split(self.v_proj(hidden, images))
        query, key = apply_rotary_pos_emb(query, key, *positions)
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attention: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        dropout = self.config.attention_dropout if self.training else 0.0
        output, _ = attention(self, query, key, value, mask, dropout=dropout, scaling=self.scaling)
        return self.o_proj(output.flatten(2))

    def _split(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class LanguageLayer(GradientCheckpointingLayer):
    """A transformer layer with its norms before attention and MLP."""

    def __init__(self, config: MPLUGOwl2Config, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = LanguageAttention(config, layer_idx)
        self.mlp = LanguageMLP(config)
        self.input_layernorm = MultiwayRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = MultiwayRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden: Tensor,
        images: ImageTokens | None,
        positions: tuple[Tensor, Tensor],
        mask: Any,
        cache: Cache | None = None,
    ) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden, images), images, positions, mask, cache)
        return hidden + self.mlp(self.post_attention_layernorm(hidden, images))
