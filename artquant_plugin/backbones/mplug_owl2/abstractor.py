"""The visual abstractor of mPLUG-Owl2: learnable queries gather an image's patches into a few tokens."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer

from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2AbstractorConfig
from artquant_plugin.backbones.mplug_owl2.vision import full_attention

FloatArray = NDArray[np.float64]


def sincos(positions: NDArray[Any], size: int) -> FloatArray:
    """Sinusoidal embeddings of positions on a line (arXiv:1706.03762), with all sines before all cosines.

    Args:
        positions: n positions, shape (n,), in steps of one.
        size: the length of an embedding, an even number.

    Returns:
        Embeddings of shape (n, size), each value in [-1, 1].
    """
    omega = 1.0 / 10000 ** (np.arange(size // 2) / (size / 2))
    angles = np.outer(positions, omega)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def sincos_grid(side: int, size: int) -> FloatArray:
    """Sinusoidal embeddings of positions on a square grid (MAE, arXiv:2111.06377).

    The first half of an embedding encodes the column, the second half the row.

    Args:
        side: the number of rows, and of columns, of the grid.
        size: the length of an embedding, divisible by 4.

    Returns:
        Embeddings of shape (side², size), row by row.
    """
    row, column = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return np.concatenate([sincos(axis.ravel(), size // 2) for axis in (column, row)], axis=1)


class AbstractorAttention(nn.Module):
    """Queries attend to themselves and to the image; positions are added to queries and keys, not to values."""

    q_pos_embed: Tensor
    k_pos_embed: Tensor

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.num_attention_heads
        self.scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
        self.dropout = config.attention_dropout
        self.num_key_value_groups = 1
        self.is_causal = False
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.encoder_hidden_size, config.hidden_size)
        self.value = nn.Linear(config.encoder_hidden_size, config.hidden_size)
        # Fixed, and yet part of the state dict, because they are in the original's.
        self.register_buffer("q_pos_embed", self.query_positions())
        self.register_buffer("k_pos_embed", self.image_positions())

    def query_positions(self) -> Tensor:
        """Position embeddings of the queries, shape (queries, hidden)."""
        embeddings = sincos(np.arange(self.config.num_learnable_queries), self.config.hidden_size)
        return torch.from_numpy(embeddings).float()

    def image_positions(self) -> Tensor:
        """Position embeddings of the class token, which are zero, and of the patches; shape (grid² + 1, hidden)."""
        embeddings = sincos_grid(self.config.grid_size, self.config.hidden_size)
        return torch.from_numpy(np.pad(embeddings, ((1, 0), (0, 0)))).float()

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        both = torch.cat([queries, image], dim=1)
        positions = torch.cat([self.q_pos_embed, self.k_pos_embed]).to(queries.dtype)
        query = self._split(self.query(queries + self.q_pos_embed.to(queries.dtype)))
        key, value = self._split(self.key(both + positions)), self._split(self.value(both))
        return full_attention(self, query, key, value)

    def _split(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AbstractorMLP(nn.Module):
    """A SwiGLU MLP with a layer norm before its last layer."""

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_ln = nn.LayerNorm(config.intermediate_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.w2(self.ffn_ln(functional.silu(self.w1(hidden)) * self.w3(hidden)))


class AbstractorOutput(nn.Module):
    """What follows the attention: its output projection with the residual, and the MLP with another residual."""

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.attention_norm_eps)
        self.mlp = AbstractorMLP(config)

    def forward(self, attended: Tensor, residual: Tensor) -> Tensor:
        hidden = residual + self.out_proj(attended)
        return hidden + self.mlp(self.norm2(hidden))


class CrossAttention(nn.Module):
    """Attention and what follows it; the residual starts from the queries behind their norm."""

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.attention = AbstractorAttention(config)
        self.output = AbstractorOutput(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.attention_norm_eps)
        self.normk = nn.LayerNorm(config.encoder_hidden_size, eps=config.attention_norm_eps)

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        queries = self.norm1(queries)
        return self.output(self.attention(queries, self.normk(image)), queries)


class AbstractorLayer(GradientCheckpointingLayer):
    """One layer; the original's state dict has the name ``crossattention`` between a layer and its modules."""

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.crossattention = CrossAttention(config)

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        return self.crossattention(queries, image)


class AbstractorEncoder(nn.Module):
    """The stack of layers, a module of its own because the original's state dict has its name in the keys."""

    def __init__(self, config: MPLUGOwl2AbstractorConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AbstractorLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        for layer in self.layers:
            queries = layer(queries, image)
        return queries


class MPLUGOwl2VisualAbstractor(PreTrainedModel):
    """Hidden states of an image (n, positions, hidden) -> tokens of the language model (n, queries + 1, width).

    Args:
        config: the sizes of the abstractor and of the hidden states that it reads.
        width: the hidden size of the language model, which is that of the output.
    """

    config: MPLUGOwl2AbstractorConfig
    base_model_prefix = "visual_abstractor"
    supports_gradient_checkpointing = True
    _no_split_modules = ["AbstractorLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: MPLUGOwl2AbstractorConfig, width: int) -> None:
        super().__init__(config)
        self.query_embeds = nn.Parameter(torch.zeros(1, config.num_learnable_queries, config.hidden_size))
        self.vit_eos = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = AbstractorEncoder(config)
        self.visual_fc = nn.Linear(config.hidden_size, width)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MPLUGOwl2VisualAbstractor):
            initialization.normal_(module.query_embeds, std=self.config.initializer_range)
            initialization.normal_(module.vit_eos, std=self.config.initializer_range)
        elif isinstance(module, AbstractorAttention):
            initialization.copy_(module.q_pos_embed, module.query_positions())
            initialization.copy_(module.k_pos_embed, module.image_positions())

    def forward(self, image: Tensor) -> Tensor:
        """Turn hidden states of the ViT, shape (n, positions, hidden), into tokens, shape (n, queries + 1, width)."""
        tokens = self.encoder(self.query_embeds.expand(len(image), -1, -1), image)
        return torch.cat([self.visual_fc(tokens), self.vit_eos.expand(len(image), -1, -1)], dim=1)
