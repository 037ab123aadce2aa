"""The keys and values of the part of the prompt that all requests share, computed once and used for each batch."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from artquant_plugin.backbones.interface import core, last_hidden_states

FEWEST_TOKENS = 8  # joining the keys and values of a shorter prefix costs more than computing them again


class SharedPrefix:
    """The keys and values of P tokens with which each row of every batch begins.

    This is for models that attend causally and whose forward pass takes a `cache`; the prefix must hold no image. Use
    `shared_prefix`, which finds out whether a model is one of them.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        ids: the prefix's token ids, shape (P,).

    Raises:
        ValueError: the model does not keep the keys and values of every position, but a sliding window, say.
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
        """Whether all rows of a batch begin with the prefix and are longer than it.

        Args:
            input_ids: the batch's token ids, shape (n, L), on the CPU.
        """
        length = len(self.ids)
        return input_ids.shape[1] > length and bool((input_ids[:, :length] == self.ids).all())

    def last_hidden_states(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Compute the hidden states behind the prefix, as `backbones.interface.last_hidden_states` would.

        Args:
            model: the model that the prefix was made with.
            inputs: model inputs of a batch whose n rows of length L begin with the prefix, padded on the right.

        Returns:
            Hidden states of shape (n, L - P, hidden).
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
        """A cache for `count` rows that all view the one copy of the prefix; the model copies it when it appends."""
        return DynamicCache(
            [(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1)) for keys, values in self._layers],
            config=self._config,
        )


def shared_prefix(model: Any, inputs: dict[str, Any], ids: Tensor, *, tolerance: float) -> SharedPrefix | None:
    """Make a shared prefix, and check on a batch that the model's hidden states are the same with it.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        inputs: model inputs on the model's device for a batch whose rows begin with the prefix.
        ids: the prefix's token ids, shape (P,); P may be 0.
        tolerance: the largest mean absolute difference, relative to the mean absolute hidden value, that counts as
            rounding. Means are compared because a few hidden values of large models are a thousand times the others.

    Returns:
        The prefix; None where it is shorter than `FEWEST_TOKENS`, or the model gives other hidden states with it or
        takes no cache.
    """
    if len(ids) < FEWEST_TOKENS:
        return None
    try:
        prefix = SharedPrefix(model, ids)
        if not prefix.begins(inputs["input_ids"].cpu()):
            return None
        with torch.inference_mode():
            # A model may change the dictionary of its inputs, so each of the two passes gets a copy.
            whole = last_hidden_states(model, dict(inputs))[:, len(ids) :]
            rest = prefix.last_hidden_states(model, dict(inputs))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return None  # architectures without a usable cache fail in various ways; they are scored without a prefix
    real = inputs["attention_mask"][:, len(ids) :].bool()
    difference = (whole.float() - rest.float())[real].abs().mean()
    return prefix if difference <= tolerance * whole[real].float().abs().mean() else None
