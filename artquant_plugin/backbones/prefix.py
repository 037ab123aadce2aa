"""The part of the prompt that every request shares, computed once: its keys and values, expanded to each batch."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from artquant_plugin.backbones.interface import core, last_hidden_states

LEAST = 8  # tokens; a shorter beginning costs more to join than to compute again


class SharedPrefix:
    """Keys and values of the tokens with which each row of every batch begins.

    For models whose forward takes a `cache` and attends causally, without images in the prefix. Whether a model is
    one of them is not guessed: `shared_prefix` compares.

    Args:
        model: a model of `AutoModelForImageTextToText`, peft-wrapped or not.
        ids: token ids of shape (P,).

    Raises:
        ValueError: the model keeps something else than all keys and values, such as a sliding window.
    """

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.ids = ids.cpu()
        inner = core(model)
        self._config = inner.config
        cache = DynamicCache(config=inner.config)
        with torch.inference_mode():
            inner.base_model(input_ids=ids[None].to(inner.device), cache=cache, use_cache=True, return_dict=True)
        plain = [layer for layer in cache.layers if type(layer) is DynamicLayer]
        if len(plain) != len(cache.layers) or cache.get_seq_length() != len(ids):
            raise ValueError("the model does not keep the keys and values of every position")
        self._layers: list[tuple[Any, Any]] = [(layer.keys, layer.values) for layer in plain]

    def begins(self, input_ids: Tensor) -> bool:
        """Whether all rows of a batch begin with the prefix and go on.

        Args:
            input_ids: shape (n, L), on the CPU.
        """
        length = len(self.ids)
        return input_ids.shape[1] > length and bool((input_ids[:, :length] == self.ids).all())

    def last_hidden_states(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Hidden states behind the prefix; the values of `backbones.interface.last_hidden_states` at these positions.

        Args:
            model: the one that the prefix was made with.
            inputs: of a batch whose rows begin with the prefix, padded on the right.

        Returns:
            Shape (n, L - P, hidden).
        """
        length, shape = len(self.ids), inputs["input_ids"].shape
        rest = {
            name: value[:, length:]
            if name != "attention_mask" and isinstance(value, Tensor) and value.shape == shape
            else value
            for name, value in inputs.items()
        }
        cache = self._expanded(shape[0])
        return core(model).base_model(**rest, cache=cache, use_cache=False, return_dict=True).last_hidden_state

    def _expanded(self, count: int) -> DynamicCache:
        """A cache for `count` rows, whose prefix takes the memory of one: the model appends to it, by copying."""
        return DynamicCache(
            [(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1)) for keys, values in self._layers],
            config=self._config,
        )


def shared_prefix(model: Any, inputs: dict[str, Any], ids: Tensor, *, tolerance: float) -> SharedPrefix | None:
    """The shared prefix, for a model that gives the same hidden states with it.

    Args:
        model: as above.
        inputs: a batch on the model's device whose rows begin with the prefix.
        ids: token ids of shape (P,).
        tolerance: mean difference, relative to the mean hidden value, that still is rounding. Of means, because a few
            hidden values of large models are a thousand times the others.

    Returns:
        None where the prefix is shorter than `LEAST`, or where the model cannot or does not go on from it.
    """
    if len(ids) < LEAST:
        return None
    try:
        prefix = SharedPrefix(model, ids)
        if not prefix.begins(inputs["input_ids"].cpu()):
            return None
        with torch.inference_mode():
            # A model may write into what it is given, so each way gets its own dictionary.
            whole = last_hidden_states(model, dict(inputs))[:, len(ids) :]
            rest = prefix.last_hidden_states(model, dict(inputs))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return None  # each architecture that has no such way fails in its own manner, and is scored without
    real = inputs["attention_mask"][:, len(ids) :].bool()
    difference = (whole.float() - rest.float())[real].abs().mean()
    return prefix if difference <= tolerance * whole[real].float().abs().mean() else None
