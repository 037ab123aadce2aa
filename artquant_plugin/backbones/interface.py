"""What scoring needs of any Hugging Face vision-language model: hidden states, and logits of a few tokens."""

import itertools
import math
import sys
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from artquant_plugin.common.errors import ArtQuantError


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """What a model does to the output head's logits before it returns them: cap · tanh(scale · logits / cap).

    Args:
        scale: factor, 1 in most models (Granite divides, Cohere multiplies).
        cap: soft limit of the absolute value, none in most models (Gemma 2, PaliGemma 2).
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits as the model returns them, of any shape, float32."""
        logits = logits if self.scale == 1.0 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def core(model: Any) -> Any:
    """The `transformers` model inside a peft wrapper, or the model itself."""
    # Whoever has put a model into a wrapper has imported peft. Importing it here would cost every checkpoint without
    # an adapter a second, most of it for bitsandbytes, which peft imports in its turn.
    peft = sys.modules.get("peft")
    return model.get_base_model() if peft is not None and isinstance(model, peft.PeftModel) else model


def last_hidden_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Hidden states before the output head, without a key/value cache.

    Args:
        model: a model of `AutoModelForImageTextToText`, peft-wrapped or not.
        inputs: what its processor gives for a batch of n sequences of length L.

    Returns:
        Shape (n, L, hidden).
    """
    return core(model).base_model(**inputs, use_cache=False, return_dict=True).last_hidden_state


def token_logits(model: Any, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Logits of a few tokens: a matmul with their rows of the output head instead of the whole vocabulary.

    Args:
        model: as above, in evaluation mode.
        hidden: shape (..., hidden).
        token_ids: shape (K,).

    Returns:
        Shape (..., K), float32: what the model itself would return for them.

    Raises:
        ArtQuantError: the model does to its logits what no short way is known for.
    """
    head = core(model).get_output_embeddings()
    if type(head) is nn.Linear:
        bias = None if head.bias is None else head.bias[token_ids]
        logits = functional.linear(hidden, head.weight[token_ids], bias)
    else:
        logits = head(hidden)[..., token_ids]  # adapted or quantised heads have no plain rows
    return logit_transform(model)(logits.float())


def check_token_logits(model: Any, inputs: dict[str, Any], token_ids: Tensor) -> float:
    """Largest difference between `token_logits` and the model's own logits on a batch, at the last position.

    Architectures differ in what they do around the head; this tells whether the short way holds for one.
    """
    with torch.inference_mode():
        own = model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1, token_ids].float()
        short = token_logits(model, last_hidden_states(model, inputs)[:, -1], token_ids)
    return float((own - short).abs().max())


_transforms: WeakKeyDictionary[Any, LogitTransform] = WeakKeyDictionary()


def logit_transform(model: Any) -> LogitTransform:
    """What a model does to its head's logits, measured once: configurations name it in ways that differ.

    The model is run on one token while a stand-in that gives known logits is in the place of the head, whose weights
    are then not even read.

    Args:
        model: as above.

    Raises:
        ArtQuantError: it is neither a factor nor a soft limit.
    """
    inner = core(model)
    if inner not in _transforms:
        _transforms[inner] = _measure(inner)
    return _transforms[inner]


def _ordinary_token(model: Any) -> int:
    """A token that stands for itself: padding has no embedding, and an image's would ask for pixels."""
    contents = model.config.to_dict(), model.config.get_text_config().to_dict()
    special = {
        value
        for content in contents
        for key, value in content.items()
        if key.endswith(("_token_id", "_token_index"))
        if isinstance(value, int)
    }
    return next(token for token in itertools.count(1) if token not in special)


class _KnownLogits(nn.Module):
    """Stands in for an output head: gives the logits that it is told, and remembers what it was given."""

    def __init__(self, logits: Tensor, vocabulary: int) -> None:
        super().__init__()
        self.logits = logits
        self.vocabulary = vocabulary
        self.seen: list[Tensor] = []

    def forward(self, hidden: Tensor) -> Tensor:
        """Args: hidden states of shape (..., hidden). Returns: shape (..., vocabulary), float32."""
        self.seen.append(hidden)
        logits = torch.zeros(*hidden.shape[:-1], self.vocabulary, dtype=torch.float32, device=hidden.device)
        logits[..., : len(self.logits)] = self.logits.to(hidden.device)
        return logits


def _measure(model: Any) -> LogitTransform:
    small, large = 2.0**-10, 1e6
    checked = [-40.0, -7.0, -1.0, 0.0, 0.5, 3.0, 25.0]
    shown = torch.tensor([small, large, *checked])
    head = model.get_output_embeddings()
    stand_in = _KnownLogits(shown, model.config.get_text_config().vocab_size)
    inputs = {"input_ids": torch.tensor([[_ordinary_token(model)]], device=model.device)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    model.set_output_embeddings(stand_in)
    try:
        with torch.no_grad():
            returned = model(**inputs, use_cache=False).logits[0, -1, : len(shown)].cpu().double()
            hidden = last_hidden_states(model, inputs)
    finally:
        model.set_output_embeddings(head)
    slope, limit, *values = returned.tolist()
    cap = limit if limit < large * min(slope / small, 1.0) / 2 else None
    scale = (slope if cap is None else cap * math.atanh(slope / cap)) / small
    transform = LogitTransform(scale=1.0 if math.isclose(scale, 1.0, rel_tol=1e-5) else scale, cap=cap)
    expected = transform(torch.tensor(checked, dtype=torch.float64))
    alike = torch.allclose(expected, torch.tensor(values, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    if not alike or not torch.allclose(stand_in.seen[0].float(), hidden.float(), rtol=1e-2, atol=1e-3):
        raise ArtQuantError(
            f"{type(model).__name__} changes hidden states or logits around its output head in a way that artquant "
            "does not know; use another architecture, or report it"
        )
    return transform
