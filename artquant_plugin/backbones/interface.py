"""What scoring needs of any Hugging Face vision-language model: hidden states, and the logits of a few tokens."""

import inspect
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
    """How a model changes its output head's logits before it returns them: cap · tanh(scale · logits / cap).

    Args:
        scale: the factor of the logits; 1 in most models (Granite divides them, Cohere multiplies them).
        cap: the soft limit of their absolute value, as Gemma 2 and PaliGemma 2 have one; None for no limit.
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """The logits as the model returns them, of the same shape, for the output head's logits in float32."""
        logits = logits if self.scale == 1.0 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def core(model: Any) -> Any:
    """The `transformers` model inside a peft wrapper; a model without a wrapper is returned as it is."""
    # A wrapped model exists only where peft was imported. Importing it here would cost a second for every checkpoint
    # without an adapter, most of it for bitsandbytes, which peft imports.
    peft = sys.modules.get("peft")
    return model.get_base_model() if peft is not None and isinstance(model, peft.PeftModel) else model


def takes_encoded_images(model: Any) -> bool:
    """Whether a model's forward pass takes images as its own encoder gave them, and returns them.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
    """
    return "mm_encoder_outputs" in inspect.signature(core(model).forward).parameters


def last_hidden_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Compute the hidden states before the output head, without a key/value cache.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
        inputs: the processor's output for a batch of n sequences of length L, on the model's device.

    Returns:
        Hidden states of shape (n, L, hidden).
    """
    return core(model).base_model(**inputs, use_cache=False, return_dict=True).last_hidden_state


def token_logits(model: Any, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Logits of a few tokens, from their rows of the output head instead of the whole vocabulary.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        hidden: hidden states before the output head, shape (..., hidden).
        token_ids: ids of the K tokens, shape (K,), on the device of the output head.

    Returns:
        Logits of shape (..., K), float32, as the model itself would return them.

    Raises:
        ArtQuantError: the model changes its logits in a way that `LogitTransform` does not describe.
    """
    head = core(model).get_output_embeddings()
    if type(head) is nn.Linear:
        logits = _row_logits(head, hidden, token_ids)
    elif _is_plain_lora(head):
        logits = _row_logits(head.base_layer, hidden, token_ids)
        # In float32, so that what a matrix adds to all tokens alike does not round their differences in bfloat16.
        for name in head.active_adapters:
            inner = functional.linear(hidden.float(), head.lora_A[name].weight.float())
            rows = head.lora_B[name].weight[token_ids].float()
            logits = logits + head.scaling[name] * functional.linear(inner, rows).float()
    else:
        logits = head(hidden)[..., token_ids]  # the rows of a quantised head are not at hand
    return logit_transform(model)(logits.float())


def _row_logits(head: nn.Linear, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Logits of a few tokens, shape (..., K), float32, computed in the type of the head."""
    bias = None if head.bias is None else head.bias[token_ids]
    return functional.linear(hidden, head.weight[token_ids], bias).float()


def _is_plain_lora(head: Any) -> bool:
    """Whether an output head is a linear one with LoRA matrices beside it, and nothing else changes its logits."""
    peft = sys.modules.get("peft")
    if peft is None or type(head) is not peft.tuners.lora.Linear or type(head.base_layer) is not nn.Linear:
        return False
    names = head.active_adapters
    plain = all(name in head.lora_A and head.lora_B[name].bias is None for name in names)
    return plain and not (head.merged or head.disable_adapters or any(name in head.lora_variant for name in names))


def log_token_mass(model: Any, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """The logarithm of the probability that a few tokens have together among the whole vocabulary.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        hidden: hidden states before the output head, shape (..., hidden).
        token_ids: ids of the K tokens, shape (K,), on the device of the output head.

    Returns:
        Natural logarithms of shape (...), float32, at most 0 up to rounding.

    Raises:
        ArtQuantError: the model changes its logits in a way that `LogitTransform` does not describe.
    """
    logits = logit_transform(model)(core(model).get_output_embeddings()(hidden).float())
    return logits[..., token_ids].logsumexp(dim=-1) - logits.logsumexp(dim=-1)


def check_token_logits(model: Any, inputs: dict[str, Any], token_ids: Tensor) -> float:
    """The largest difference between `token_logits` and the model's own logits at the last position of a batch.

    Architectures differ in what they do around the output head. A result that exceeds rounding means that
    `token_logits` is wrong for the architecture.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.
        inputs: the processor's output for a batch without padding on the right, on the model's device.
        token_ids: ids of the K tokens that are compared, shape (K,).

    Returns:
        The largest absolute difference over the batch and the K tokens.

    Raises:
        ArtQuantError: the model changes its logits in a way that `LogitTransform` does not describe.
    """
    with torch.inference_mode():
        own = model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1, token_ids].float()
        short = token_logits(model, last_hidden_states(model, inputs)[:, -1], token_ids)
    return float((own - short).abs().max())


def damaged_weights(model: Any) -> str | None:
    """Which of a model's weights hold NaN or infinity, with the remedy; None where all are finite.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
    """
    tensors = itertools.chain(core(model).named_parameters(), core(model).named_buffers())
    broken = [(name, value) for name, value in tensors if value.is_floating_point() and not value.isfinite().all()]
    if not broken:
        return None
    name, value = broken[0]
    others = f" and in {len(broken) - 1} other tensors" if len(broken) > 1 else ""
    return (
        f"{int((~value.isfinite()).sum()):,} of {value.numel():,} numbers in its weight {name}{others} are NaN or "
        "infinite, as a training that diverged or a damaged file leaves them; take an earlier checkpoint, or fetch it "
        "again"
    )


def not_finite_because(model: Any) -> str:
    """Why a model computes NaN or infinity, with the remedy, to put behind what was computed.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one.
    """
    damage = damaged_weights(model)
    if damage is not None:
        return damage
    if model.dtype == torch.float32:
        return "its weights are finite and its values grow beyond float32; take an earlier checkpoint"
    kind = str(model.dtype).removeprefix("torch.")
    return f"its weights are finite and its values grow beyond {kind}; load it with dtype=float32"


_transforms: WeakKeyDictionary[Any, LogitTransform] = WeakKeyDictionary()


def logit_transform(model: Any) -> LogitTransform:
    """How a model changes its output head's logits, measured once per model.

    It is measured because the configurations of different families call it by different names. The model runs on one
    token while a module that returns known logits stands in for the head.

    Args:
        model: a model of `AutoModelForImageTextToText`, in a peft wrapper or without one, in evaluation mode.

    Raises:
        ArtQuantError: the change is not a factor with or without a soft limit, or the model's weights are not finite.
    """
    inner = core(model)
    if inner not in _transforms:
        _transforms[inner] = _measure(inner)
    return _transforms[inner]


def _ordinary_token(model: Any) -> int:
    """A token without a special meaning: padding may have no embedding, and an image token would need pixels."""
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
    """Stands in for an output head: returns the logits that it is told to, and records the hidden states it gets."""

    def __init__(self, logits: Tensor, vocabulary: int) -> None:
        super().__init__()
        self.logits = logits
        self.vocabulary = vocabulary
        self.seen: list[Tensor] = []

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the known logits, shape (..., vocabulary) and float32, for hidden states of shape (..., hidden)."""
        self.seen.append(hidden)
        logits = torch.zeros(*hidden.shape[:-1], self.vocabulary, dtype=torch.float32, device=hidden.device)
        logits[..., : len(self.logits)] = self.logits.to(hidden.device)
        return logits


def _measure(model: Any) -> LogitTransform:
    """Run a model with known logits, solve for scale and cap, and check the result on other logits."""
    # The small logit is in the linear range of any soft limit and tells the scale; the large one tells the limit.
    small, large = 2.0**-10, 1e6
    checked = [-40.0, -7.0, -1.0, 0.0, 0.5, 3.0, 25.0]
    known = torch.tensor([small, large, *checked])
    head = model.get_output_embeddings()
    stand_in = _KnownLogits(known, model.config.get_text_config().vocab_size)
    inputs = {"input_ids": torch.tensor([[_ordinary_token(model)]], device=model.device)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    model.set_output_embeddings(stand_in)
    try:
        with torch.no_grad():
            returned = model(**inputs, use_cache=False).logits[0, -1, : len(known)].cpu().double()
            hidden = last_hidden_states(model, inputs)
    finally:
        model.set_output_embeddings(head)
    if not hidden.isfinite().all():
        raise ArtQuantError(f"{type(model).__name__} computes NaN or infinity: {not_finite_because(model)}")
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
