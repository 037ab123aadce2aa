"""What prompts share, computed once: their beginning for all images, and an image for all questions about it."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from artquant_plugin.backbones.interface import core, last_hidden_states, takes_encoded_images

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
        return core(model).base_model(**self.behind(inputs), use_cache=False, return_dict=True).last_hidden_state

    def behind(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Model inputs of what stands behind the prefix, with a cache that holds the prefix under the key ``cache``.

        Args:
            inputs: model inputs of a batch whose n rows of length L begin with the prefix. Those with a value for each
                token become (n, L - P), the attention mask excepted.
        """
        length, shape = len(self.ids), inputs["input_ids"].shape
        rest = {
            name: value[:, length:]
            if name != "attention_mask" and isinstance(value, Tensor) and value.shape == shape
            else value
            for name, value in inputs.items()
        }
        return {**rest, "cache": self._expanded(shape[0])}

    def _expanded(self, count: int) -> DynamicCache:
        """A cache for `count` rows that all view the one copy of the prefix; the model copies it when it appends."""
        return DynamicCache(
            [(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1)) for keys, values in self._layers],
            config=self._config,
        )


SharedKeys = Literal["always", "even", "never"]


class FurtherQuestions:
    """Further questions about the images of a batch, whose prompts are the first question's up to the image.

    The first question goes through the model as always. The others take over what they can:

    - the keys and values of the prompt up to the image, where `find_shared_keys` has found that the model gives the
      same hidden states with them. The tokens behind the image, some twenty for each question, are then all that is
      computed for it;
    - else the encoded images, where the forward pass takes them, as training does;
    - else nothing: each question is a whole pass.

    Args:
        first: model inputs of one row, which ends at the position that the first question is read at.
        others: the same for each of A further questions about the same image, A at least 1.
    """

    def __init__(self, first: dict[str, Any], others: Sequence[dict[str, Any]]) -> None:
        rows = [inputs["input_ids"][0].cpu() for inputs in (first, *others)]
        shared = min(map(len, rows)) - 1
        while shared and any(not torch.equal(row[:shared], rows[0][:shared]) for row in rows[1:]):
            shared -= 1
        self.behind = len(rows[0]) - shared  # tokens of the first question that are not the others'
        self.tails = [
            {name: inputs[name][0, shared:].cpu() for name in _of_tokens(inputs) if inputs[name].ndim == 2}
            for inputs in others
        ]
        self.shared_keys: SharedKeys = "never"

    def read(
        self, model: Any, inputs: dict[str, Any], positions: Tensor, prefix: SharedPrefix | None = None
    ) -> Tensor:
        """Hidden states at the position that each question is read at.

        Args:
            model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
            inputs: model inputs of a batch of the first question, n rows padded on the right, on the model's device.
            positions: the position that the first question is read at in each row, shape (n,), on the CPU.
            prefix: the beginning of the prompt that is computed already; None where there is none.

        Returns:
            Shape (n, 1 + A, hidden), the first question in front.
        """
        lengths = positions + 1 - self.behind
        keeps = self.shared_keys == "always" or (self.shared_keys == "even" and len(lengths.unique()) == 1)
        given = dict(inputs) if prefix is None else prefix.behind(inputs)
        if keeps and prefix is None:
            given["cache"] = DynamicCache()
        output = core(model).base_model(**given, use_cache=keeps, return_dict=True)
        rows = torch.arange(len(positions), device=output.last_hidden_state.device)
        at = positions - (0 if prefix is None else len(prefix.ids))
        first = output.last_hidden_state[rows, at.to(rows.device)]
        if keeps:
            others = self._behind_keys(model, given["cache"], lengths)
        else:
            encoded = output.image_outputs if takes_encoded_images(model) else None
            others = self._whole(model, inputs, lengths, encoded)
        return torch.cat([first[:, None], others], dim=1)

    def _behind_keys(self, model: Any, cache: DynamicCache, lengths: Tensor) -> Tensor:
        """The others' hidden states, shape (n, A, hidden), behind the keys and values of the first question's pass.

        Rows of one length go together, so that no padding stands between the shared part and what is behind it. What
        pads short questions is behind the position that is read, where a causal model does not see it.
        """
        count = len(self.tails)
        longest = max(len(tail["input_ids"]) for tail in self.tails)
        device = core(model).device
        tails = {
            name: torch.stack([_padded(tail[name], longest) for tail in self.tails]).to(device)
            for name in self.tails[0]
            if name != "attention_mask"
        }
        last = torch.tensor([len(tail["input_ids"]) - 1 for tail in self.tails], device=device)
        filled: list[Any] = cache.layers
        found: dict[int, Tensor] = {}
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            chosen = rows.to(device)
            layers = [
                tuple(each[chosen, :, :length].repeat_interleave(count, dim=0) for each in (layer.keys, layer.values))
                for layer in filled
            ]
            given = {name: value.repeat(len(rows), 1) for name, value in tails.items()}
            output = core(model).base_model(**given, cache=DynamicCache(layers), use_cache=True, return_dict=True)
            hidden = output.last_hidden_state.unflatten(0, (len(rows), count))
            read = hidden[:, torch.arange(count, device=device), last]
            found.update(zip(rows.tolist(), read, strict=True))
        return torch.stack([found[row] for row in range(len(lengths))])

    def _whole(self, model: Any, inputs: dict[str, Any], lengths: Tensor, encoded: Any) -> Tensor:
        """The others' hidden states, shape (n, A, hidden), by one pass for each, with encoded images or without."""
        found = []
        for tail in self.tails:
            given = with_tail(inputs, lengths, tail)
            if encoded is not None:
                del given["pixel_values"]
                given["mm_encoder_outputs"] = {"image": encoded}
            hidden = last_hidden_states(model, given)
            rows = torch.arange(len(lengths), device=hidden.device)
            found.append(hidden[rows, (lengths + len(tail["input_ids"]) - 1).to(hidden.device)])
        return torch.stack(found, dim=1)


def with_tail(inputs: dict[str, Any], lengths: Tensor, tail: dict[str, Tensor]) -> dict[str, Any]:
    """Model inputs of another question: each row up to some length, and then what stands behind the image.

    Args:
        inputs: model inputs of a batch, n rows of length L padded on the right.
        lengths: how many tokens of each row stay, shape (n,), on the CPU, each below L.
        tail: the tokens behind them, the same for all rows: ``input_ids``, ``attention_mask`` and whatever else has a
            value for each token, shape (T,).

    Returns:
        The inputs with rows of length max(lengths) + T, padded on the right. What has more than one value for each
        token, such as the mask of a cross-attention, has those of the first token that was taken away.
    """
    size, longest = len(tail["input_ids"]), int(lengths.max())
    made = dict(inputs)
    for name in _of_tokens(inputs):
        value = inputs[name]
        rows = []
        for row, length in zip(value, lengths.tolist(), strict=True):
            own = tail[name].to(row.device) if name in tail else row[length].expand(size, *row.shape[1:])
            padding = own[-1].expand(longest - length, *row.shape[1:])
            if name == "attention_mask":
                padding = torch.zeros_like(padding)
            rows.append(torch.cat([row[:length], own, padding]))
        made[name] = torch.stack(rows)
    return made


def _of_tokens(inputs: dict[str, Any]) -> list[str]:
    """The names of the inputs that have a value, or several, for each token."""
    shape = inputs["input_ids"].shape
    return [
        name
        for name, value in inputs.items()
        if isinstance(value, Tensor) and value.shape[:2] == shape and not name.startswith(("pixel", "image"))
    ]


def _padded(tail: Tensor, length: int) -> Tensor:
    """A question's values made as long as the longest question's, with the last one of its own."""
    return torch.cat([tail, tail[-1].expand(length - len(tail))])


def find_shared_keys(
    model: Any,
    questions: FurtherQuestions,
    batches: Sequence[tuple[dict[str, Any], Tensor]],
    *,
    tolerance: float,
    prefix: SharedPrefix | None = None,
) -> SharedKeys:
    """Find out whether a model answers further questions alike from the keys and values of the first one's pass.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        questions: the questions, whose `shared_keys` is left as it was.
        batches: two batches of the first question on the model's device, each with the positions that are read: one
            of images of several sizes, and one of images of the same size.
        tolerance: the largest mean absolute difference of hidden states, relative to their mean absolute value, that
            counts as rounding.
        prefix: the beginning of the prompt that is computed already; None where there is none.

    Returns:
        ``always``; ``even`` where it holds for batches without padding alone, as in models whose positions have
        several axes; ``never`` where the hidden states are others or the model takes no such cache.
    """
    before = questions.shared_keys
    try:
        with torch.inference_mode():
            for (inputs, positions), found in zip(batches, ("always", "even"), strict=True):
                try:
                    questions.shared_keys = "always"
                    shared = questions.read(model, dict(inputs), positions, prefix)[:, 1:]
                except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError):
                    continue  # architectures without a usable cache fail in various ways
                questions.shared_keys = "never"
                whole = questions.read(model, dict(inputs), positions, prefix)[:, 1:]
                difference = (whole.float() - shared.float()).abs().mean()
                if difference <= tolerance * whole.float().abs().mean():
                    return found  # type: ignore[return-value]
        return "never"
    finally:
        questions.shared_keys = before


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
