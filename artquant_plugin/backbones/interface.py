"""What scoring needs of any Hugging Face vision-language model: hidden states, and logits of a few tokens."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def last_hidden_states(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Hidden states before the output head, without a key/value cache.

    Args:
        model: a model of `AutoModelForImageTextToText`, peft-wrapped or not.
        inputs: what its processor gives for a batch of n sequences of length L.

    Returns:
        Shape (n, L, hidden).
    """
    core = model.get_base_model() if hasattr(model, "peft_config") else model
    return core.base_model(**inputs, use_cache=False, return_dict=True).last_hidden_state


def token_logits(model: Any, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Logits of a few tokens: a matmul with their rows of the output head instead of the whole vocabulary.

    Args:
        model: as above.
        hidden: shape (..., hidden).
        token_ids: shape (K,).

    Returns:
        Shape (..., K), float32.
    """
    head = model.get_output_embeddings()
    bias = getattr(head, "bias", None)
    logits = functional.linear(hidden, head.weight[token_ids], None if bias is None else bias[token_ids]).float()
    config = getattr(model.config, "text_config", model.config)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def check_token_logits(model: Any, inputs: dict[str, Any], token_ids: Tensor) -> float:
    """Largest difference between `token_logits` and the model's own logits on a batch, at the last position.

    Architectures differ in what they do after the head; this tells whether the short way holds for one.
    """
    with torch.inference_mode():
        own = model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1, token_ids].float()
        short = token_logits(model, last_hidden_states(model, inputs)[:, -1], token_ids)
    return float((own - short).abs().max())
