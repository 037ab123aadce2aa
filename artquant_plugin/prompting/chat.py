"""Conversations as text, through a processor's own chat template.

What differs between families is told by the processor itself, never by a model's name.
"""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line

# Flags of templates whose models can think before they answer; all of them are switched off.
THINKING_FLAGS = ("enable_thinking", "thinking")


def render_chat(processor: Any, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
    """A conversation as text, with a thinking mode off where there is one.

    Args:
        processor: with a chat template; one that takes answers apart may do without.
        messages: in the form of `transformers`, images as ``{"type": "image"}``.
        add_generation_prompt: whether to open the assistant's turn.

    Raises:
        ArtQuantError: the processor has no chat template, or the template refuses the conversation.
    """
    template = processor.chat_template
    if template is None:
        if takes_answers_apart(processor):
            return _plain(processor, messages)
        raise ArtQuantError(
            f"{type(processor).__name__} has no chat template; use an instruction-tuned checkpoint, or add a "
            "chat_template.jinja to its folder"
        )
    code = " ".join(re.findall(r"\{[{%].*?[%}]\}", str(template), re.DOTALL))
    names = re.sub(r"'[^']*'|\"[^\"]*\"", "", code)  # without what it writes
    options = {flag: False for flag in THINKING_FLAGS if re.search(rf"\b{flag}\b", names)}
    try:
        return processor.apply_chat_template(
            messages, add_generation_prompt=add_generation_prompt, tokenize=False, **options
        )
    except _template_errors() as error:
        reason = one_line(error)
        raise ArtQuantError(f"the chat template refuses the conversation ({reason}); use another template") from error


def takes_answers_apart(processor: Any) -> bool:
    """Whether the processor wants the answer apart from the prompt, as prefix language models such as PaliGemma do.

    Their prompt sees itself in both directions, their answer only what stands before it, so that the processor must
    know where the one ends.
    """
    return "suffix" in inspect.signature(type(processor).__call__).parameters


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Whether the tokenizer is to add its special tokens to a rendered chat.

    Most templates write the beginning-of-sequence token themselves; twice would be another prompt.
    """
    bos = processor.tokenizer.bos_token
    return bos is None or not text.startswith(bos)


def chat_inputs(
    processor: Any,
    prompts: Sequence[str],
    images: Sequence[Sequence[Any]],
    *,
    answers: Sequence[str] | None = None,
    padding_side: str = "right",
) -> dict[str, Any]:
    """Model inputs of rendered chats.

    Args:
        processor: whose template rendered them.
        prompts: n texts.
        images: the RGB images (PIL) of each text; none for texts without.
        answers: what the assistant says to each, its end of turn included; nothing when it is to be generated.
        padding_side: ``right`` to score, ``left`` to generate.

    Returns:
        What the processor gives: input_ids and attention_mask of shape (n, L), pixel values and the like.

    Raises:
        ArtQuantError: the processor refuses the texts, such as one whose template leaves images out.
    """
    options: dict[str, Any] = {}
    texts = list(prompts)
    if takes_answers_apart(processor):
        if answers is not None:
            options["suffix"] = [answer.removesuffix(processor.tokenizer.eos_token) for answer in answers]
    elif answers is not None:
        texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    try:
        inputs = dict(
            processor(
                text=texts,
                images=[list(each) for each in images] if any(images) else None,
                padding=True,
                padding_side=padding_side,
                return_tensors="pt",
                add_special_tokens=adds_special_tokens(processor, texts[0]),
                **options,
            )
        )
    except ValueError as error:
        reason = one_line(error)
        raise ArtQuantError(
            f"{type(processor).__name__} does not take the prompt ({reason}); mend its chat template"
        ) from error
    inputs.pop("labels", None)  # what is supervised is decided in training, not here
    return inputs


def _plain(processor: Any, messages: list[dict[str, Any]]) -> str:
    """A prompt without a template: the images, then the words; the processor adds the rest of its family's form."""
    parts = [part for message in messages if message["role"] != "assistant" for part in message["content"]]
    images = sum(part["type"] == "image" for part in parts)
    return processor.image_token * images + "\n".join(part["text"] for part in parts if part["type"] == "text")


def _template_errors() -> tuple[type[Exception], ...]:
    from jinja2 import TemplateError

    return TemplateError, TypeError
