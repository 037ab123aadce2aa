"""Conversations rendered as text and turned into model inputs, through a processor's own chat template.

The differences between families of models are read from the processor itself, never from a model's name.
"""

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.prompting.time_limit import TooLong, time_limit

# Variables by which chat templates of reasoning models switch the thoughts before an answer on; here they are off.
THINKING_FLAGS = ("enable_thinking", "thinking")
LONGEST_RENDERING = 10.0  # seconds; a template takes milliseconds
LONGEST_CHAT = 4_000_000  # characters of a rendered conversation


def render_chat(processor: Any, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
    """Render a conversation as text, with a thinking mode switched off where the template has one.

    Args:
        processor: a `transformers` processor with a chat template. One that takes the answer as a suffix (PaliGemma)
            may have none: then the text is the image tokens and the user's words.
        messages: the turns in the form of `transformers`, with images as ``{"type": "image"}``.
        add_generation_prompt: whether the text ends with the beginning of the assistant's turn.

    Returns:
        The conversation as one string, special tokens included.

    Raises:
        ArtQuantError: the processor has no chat template, or the template refuses the conversation, does not end
            within `LONGEST_RENDERING` seconds, or makes more than `LONGEST_CHAT` characters of it.
    """
    template = processor.chat_template
    if template is None:
        if takes_answer_as_suffix(processor):
            return _render_without_template(processor, messages)
        raise ArtQuantError(
            f"{type(processor).__name__} has no chat template; use an instruction-tuned checkpoint, or add a "
            "chat_template.jinja to its folder"
        )
    words = _words(str(template))
    if "**" in words:
        raise ArtQuantError("the chat template computes powers (**), which may take for ever; use another template")
    options = {flag: False for flag in THINKING_FLAGS if flag in words}
    try:
        with time_limit(LONGEST_RENDERING, followed="<template>"):
            text = processor.apply_chat_template(
                messages, add_generation_prompt=add_generation_prompt, tokenize=False, **options
            )
    except TooLong as error:
        raise ArtQuantError(f"the chat template does not come to an end ({error}); use another template") from error
    except MemoryError as error:
        raise ArtQuantError("the chat template asks for more memory than there is; use another template") from error
    except Exception as error:  # a template is code of somebody else, and raises what it likes
        reason = one_line(error)
        raise ArtQuantError(f"the chat template refuses the conversation ({reason}); use another template") from error
    if not isinstance(text, str) or len(text) > LONGEST_CHAT:
        size = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise ArtQuantError(
            f"the chat template makes {size} of a conversation, more than {LONGEST_CHAT:,}; use another template"
        )
    return text


def takes_answer_as_suffix(processor: Any) -> bool:
    """Whether the processor takes the answer as an argument of its own, as those of prefix language models do.

    In such a model (PaliGemma), tokens of the prompt attend to the whole prompt and tokens of the answer to what
    stands before them, so that the processor must know where the prompt ends.
    """
    return "suffix" in inspect.signature(type(processor).__call__).parameters


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Whether the tokenizer must add its special tokens to a rendered chat.

    Most templates write the beginning-of-sequence token themselves, and a second one would change the prompt.
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
    """Turn rendered chats into the inputs of a model.

    Args:
        processor: the `transformers` processor whose template rendered the chats.
        prompts: n rendered chats up to the answer, n at least 1.
        images: for each chat its RGB images (PIL), in the order of their tokens; empty for a chat without images.
        answers: n answers of the assistant, each with its end of turn; None when answers are to be generated.
        padding_side: ``right`` to score, ``left`` to generate.

    Returns:
        The processor's output: input_ids and attention_mask of shape (n, L), pixel_values and whatever else the model
        takes. There are no labels.

    Raises:
        ArtQuantError: the processor refuses the texts, such as those of a template that leaves images out.
    """
    options: dict[str, Any] = {}
    texts = list(prompts)
    if takes_answer_as_suffix(processor):
        if answers is not None:
            options["suffix"] = [answer.removesuffix(processor.tokenizer.eos_token) for answer in answers]
    elif answers is not None:
        texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    try:
        inputs = dict(
            processor(
                text=texts,
                images=[list(of_chat) for of_chat in images] if any(images) else None,
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
            f"{type(processor).__name__} does not take the prompt ({reason}); mend its chat template or the "
            "tokenizer's files"
        ) from error
    except (RuntimeError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise ArtQuantError(
            f"{type(processor).__name__} cannot process the picture and the prompt ({one_line(error)}); copy its "
            "files from the model that it was trained from"
        ) from error
    inputs.pop("labels", None)  # PaliGemma's processor makes them of a suffix; the trainer decides what is supervised
    return inputs


def _render_without_template(processor: Any, messages: list[dict[str, Any]]) -> str:
    """A prompt for a processor without a template: image tokens, then the user's words; it adds the rest itself."""
    parts = [part for message in messages if message["role"] != "assistant" for part in message["content"]]
    images = sum(part["type"] == "image" for part in parts)
    return processor.image_token * images + "\n".join(part["text"] for part in parts if part["type"] == "text")


@lru_cache(maxsize=16)
def _words(template: str) -> frozenset[str]:
    """The names and operators in a template's code, without what stands in its text and in string literals.

    A template that is cut off or wrong gives those before the place, and rendering it tells of the fault.
    """
    from jinja2 import Environment, TemplateSyntaxError  # imported here because scoring renders two prompts alone

    words = set()
    try:
        for _, kind, value in Environment().lex(template):
            if kind in ("name", "operator"):
                words.add(value)
    except TemplateSyntaxError:
        pass
    return frozenset(words)
