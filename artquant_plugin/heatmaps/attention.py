"""The attention of a vision tower while a model scores a picture, and how much of it each token gets.

transformers dispatches the attention of its models through a table that other packages may add to. An entry of ours
computes what ``sdpa`` does and keeps queries and keys, so that it works for each tower that uses the table, whether or
not the model returns its attentions. The weights themselves are computed later, some rows at a time: those of a
picture of 16,000 patches would not fit into memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from artquant_plugin.backbones.interface import core

NAME = "artquant_recorded"  # of our entry in transformers' table
WEIGHTS_AT_ONCE = 2**24  # attention weights that are held in memory at the same time, in float32


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One call of an attention function, for n sequences of L tokens.

    Args:
        module: the attention module that made the call. One with windows makes a call for each of them.
        query: queries with their graph, shape (n, heads, L, head_dim).
        key: keys with their graph, shape (n, heads or fewer, L, head_dim).
        mask: True or 0 where a token may attend, False or a large negative number where not, shape
            (n or 1, heads or 1, L, L); None where every token attends to every other one.
        scaling: the factor of the products of queries and keys.
        output: what the call returned, with its graph, shape (n, L, heads, head_dim).
    """

    module: Any
    query: Tensor
    key: Tensor
    mask: Tensor | None
    scaling: float
    output: Tensor


def vision_tower(model: Any) -> Any | None:
    """The vision tower of a model, as transformers finds it; None for a model without one.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
    """
    inner = core(model)
    tower = inner.get_encoder(modality="image")
    return None if tower is inner or tower is inner.base_model else tower


@contextmanager
def recorded_attention(model: Any) -> Iterator[list[AttentionCall]]:
    """Record the attention calls of a model's vision tower.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.

    Yields:
        The calls that were made in the block so far, in their order. The list stays empty where the tower does not use
        the table, and is emptied at the end of the block, as its tensors hold the whole graph.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    calls: list[AttentionCall] = []
    tower = vision_tower(model)
    if not isinstance(tower, PreTrainedModel):
        yield calls
        return
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def record(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, None]:
        output, _ = attend(module, query, key, value, attention_mask, **options)
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        calls.append(AttentionCall(module, query, key, attention_mask, scaling, output))
        return output, None

    AttentionInterface.register(NAME, record)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    before = tower.config._attn_implementation
    try:
        tower.set_attn_implementation(NAME)
        yield calls
    finally:
        tower.set_attn_implementation(before)
        calls.clear()


def layers_of(calls: Sequence[AttentionCall]) -> list[list[AttentionCall]]:
    """The calls by the module that made them, in the order of the modules' first calls."""
    layers: dict[int, list[AttentionCall]] = {}
    for call in calls:
        layers.setdefault(id(call.module), []).append(call)
    return list(layers.values())


def attended(
    layers: Sequence[Sequence[AttentionCall]], read: Sequence[Tensor | None], *, rollout: bool
) -> list[Tensor] | None:
    """How much the tokens that a model reads from its vision tower attend to each of the tower's tokens.

    Layers behind the last one that the score depends on are left out (LLaVA takes the features before the last layer).
    The attention is that of the mean over the heads, seen from all tokens that are read alike.

    Args:
        layers: the calls of each layer; all layers have the same tokens in the same order.
        read: for each call of all layers, the gradient of the score with respect to its output; None, or 0 in all
            values of a token, where the score does not depend on it.
        rollout: whether to follow the attention through all layers (attention rollout, arXiv:2005.00928, where half
            of each layer is its residual), or to take that of the last layer that is read.

    Returns:
        Weights of the tokens for each call of the first layer, shape (n, L), float32; they sum to 1 over all of them.
        None where the score depends on no layer, or layers differ in their number of tokens.
    """
    gradients = iter(read)
    by_layer = [[next(gradients) for _ in calls] for calls in layers]
    used = [index for index, found in enumerate(by_layer) if any(g is not None and bool(g.any()) for g in found)]
    counts = {sum(call.query.shape[0] * call.query.shape[2] for call in calls) for calls in layers}
    if not used or len(counts) > 1:
        return None
    last = layers[used[-1]]
    starts = [
        torch.zeros(call.output.shape[:2]) if gradient is None else gradient.flatten(2).ne(0).any(-1).float().cpu()
        for call, gradient in zip(last, by_layer[used[-1]], strict=True)
    ]
    weights = torch.cat([start.flatten() for start in starts])
    weights /= weights.sum()
    for calls in reversed(layers[: used[-1] + 1]):
        through = torch.cat([_through(call, part).flatten() for call, part in _parts(calls, weights)])
        if not rollout:
            weights = through
            break
        weights = (weights + through) / 2
    return [part for _, part in _parts(layers[0], weights)]


def _parts(calls: Sequence[AttentionCall], weights: Tensor) -> list[tuple[AttentionCall, Tensor]]:
    """The calls of a layer with their tokens' weights, each of shape (n, L), of the weights of all tokens in a row."""
    shapes = [(call.query.shape[0], call.query.shape[2]) for call in calls]
    parts = weights.split([rows * length for rows, length in shapes])
    return [(call, part.view(shape)) for call, part, shape in zip(calls, parts, shapes, strict=True)]


@torch.no_grad()
def _through(call: AttentionCall, weights: Tensor) -> Tensor:
    """What reaches each token when each attending token hands out its weight, on the CPU; shape (n, L)."""
    rows, heads, length, _ = call.query.shape
    key = call.key.float().repeat_interleave(heads // call.key.shape[1], dim=1).transpose(2, 3)
    weights = weights.to(call.query.device)
    reached = torch.zeros(rows, length, device=call.query.device)
    at_once = max(1, WEIGHTS_AT_ONCE // (rows * heads * length))
    for start in range(0, length, at_once):
        part = slice(start, start + at_once)
        logits = call.query[:, :, part].float() @ key * call.scaling
        if call.mask is not None:
            mask = call.mask[:, :, part, :length]
            logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
        shares = logits.softmax(dim=-1).mean(dim=1).nan_to_num()  # a padded token that may attend to none has NaN
        reached += torch.einsum("rq,rqk->rk", weights[:, part], shares)
    return reached.cpu()
