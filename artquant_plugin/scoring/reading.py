"""Descriptions that a model reads: which level it expects of a text without the image, and how likely the text is.

The first is the scorer of H(Y|D), the entropy of a score given the description: the request has the description where
the image would stand, and the answer is the one that the checkpoint was trained to begin. The second gives H(D|Z), the
entropy of a description given what the model makes of the image. `artquant_plugin.metrics.entropy` estimates both.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from artquant_plugin.backbones.interface import last_hidden_states, not_finite_because, token_logits
from artquant_plugin.checkpoint import Checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.chat import adds_special_tokens, render_chat, takes_answer_as_suffix
from artquant_plugin.prompting.prompter import Prompter
from artquant_plugin.scoring.generation import to_model


@torch.inference_mode()
def read_levels(checkpoint: Checkpoint, descriptions: Iterable[str]) -> NDArray[np.float64]:
    """The distribution over the levels that a model gives when it reads a description, without the image.

    A checkpoint that was trained with images alone was not trained to do this. Its cross-entropy is an upper bound of
    H(Y|D) all the same, but perhaps a loose one: compare it with the logarithm of the number of levels.

    Args:
        checkpoint: the loaded checkpoint whose model reads.
        descriptions: the texts of n paintings, which are read one by one.

    Returns:
        Probabilities of shape (n, K), float64, best level first; each row sums to 1.

    Raises:
        ArtQuantError: the processor needs an image in each request, or the model's logits are not finite.
    """
    model, processor, spec = checkpoint.model, checkpoint.processor, checkpoint.spec
    if takes_answer_as_suffix(processor) or processor.chat_template is None:
        raise ArtQuantError(
            f"{type(processor).__name__} of {checkpoint.name!r} has no chat template, and so no request without an "
            "image; use a checkpoint of another architecture for H(Y|D)"
        )
    prompter = Prompter(processor, spec.prompt, spec.scale)
    answer = prompter.score_request
    level_ids = torch.tensor(prompter.level_ids, device=model.device)
    rows = []
    for description in descriptions:
        content = [{"type": "text", "text": f"{description}\n{spec.prompt.question}"}]
        prompt = render_chat(processor, [{"role": "user", "content": content}], add_generation_prompt=True)
        ids = processor.tokenizer(prompt, add_special_tokens=adds_special_tokens(processor, prompt))["input_ids"]
        input_ids = torch.tensor([[*ids, *answer.ids[: answer.level]]], device=model.device)
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        logits = token_logits(model, last_hidden_states(model, inputs)[0, -1], level_ids)
        rows.append(logits.double().softmax(dim=-1).cpu().numpy())
        if not np.isfinite(rows[-1]).all():
            raise ArtQuantError(f"the model's logits for a description are not finite: {not_finite_because(model)}")
    return np.array(rows).reshape(-1, len(spec.scale.names))


@torch.inference_mode()
def description_nats(checkpoint: Checkpoint, paintings: Iterable[tuple[Image.Image, str]]) -> list[tuple[float, int]]:
    """How surprised a model is by the descriptions of paintings that it sees.

    Args:
        checkpoint: the loaded checkpoint whose model is asked for a description.
        paintings: RGB pictures with a description each, which are computed one by one.

    Returns:
        For each painting the negative log-likelihood of its description in nats, summed over the tokens of the answer
        with its end of turn, as it is trained; and the number of these tokens.

    Raises:
        ArtQuantError: the processor refuses a text or a picture, or a likelihood is not finite.
    """
    model = checkpoint.model
    prompter = Prompter(checkpoint.processor, checkpoint.spec.prompt, checkpoint.spec.scale)
    found = []
    for image, text in paintings:
        answer = prompter.describe_answer(text)
        inputs = {name: to_model(value, model) for name, value in prompter.inputs([answer.text], [image]).items()}
        ids = torch.tensor(answer.ids, device=model.device)
        logits = model(**inputs, use_cache=False).logits[0, -len(ids) - 1 : -1]
        nats = torch.nn.functional.cross_entropy(logits.float(), ids, reduction="sum").item()
        if not np.isfinite(nats):
            raise ArtQuantError(f"the likelihood of a description is not finite: {not_finite_because(model)}")
        found.append((nats, len(ids)))
    return found
