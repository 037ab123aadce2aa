"""Generating text with a checkpoint: descriptions, and answers to the questions of other tasks."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from artquant_plugin.checkpoint import Checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import open_image
from artquant_plugin.prompting.chat import chat_inputs, render_chat

GENERATION_OPTIONS = ("max_new_tokens", "temperature", "top_p", "top_k", "num_beams", "do_sample")
MAX_NEW_TOKENS = 512  # tokens of an answer where the options name no limit

Messages = list[dict[str, Any]]


def generate(checkpoint: Checkpoint, chat: Messages | str, options: dict[str, Any]) -> str:
    """Generate the answer to one chat.

    Args:
        checkpoint: the checkpoint whose model answers.
        chat: a chat as one of those that `generate_batch` takes.
        options: generation options as `generate_batch` takes them.

    Raises:
        ArtQuantError: the chat holds audio or video, or an image that cannot be opened.
    """
    return generate_batch(checkpoint, [chat], options)[0]


def generate_batch(checkpoint: Checkpoint, chats: Sequence[Messages | str], options: dict[str, Any]) -> list[str]:
    """Generate one answer to each chat of a batch.

    Args:
        checkpoint: the checkpoint whose model answers.
        chats: chats in lmms-eval's form, with images as ``{"type": "image", "url": <PIL image or path>}``, or plain
            texts. Either all of them hold images or none does, because processors do not take both in one batch.
        options: options for generation, those of `GENERATION_OPTIONS` and lmms-eval's ``until``, one string or several
            at which the text ends. Others are ignored; without a limit, `MAX_NEW_TOKENS` holds.

    Returns:
        The answers in the order of the chats, each up to the first ``until``, without special tokens.

    Raises:
        ArtQuantError: a chat holds audio or video, or an image that cannot be opened.
    """
    texts, images = zip(*(rendered(checkpoint, chat) for chat in chats), strict=True)
    inputs = generation_inputs(checkpoint.processor, texts, images)
    ids = generate_ids(checkpoint, inputs, options)
    return read_answers(checkpoint, ids, options)


def rendered(checkpoint: Checkpoint, chat: Messages | str) -> tuple[str, list[Image.Image]]:
    """Render a chat through the processor's template, and open its images.

    Args:
        checkpoint: the checkpoint whose processor and image handling are used.
        chat: a chat as one of those that `generate_batch` takes.

    Returns:
        The text up to where the answer begins, and the images in the order of their tokens.

    Raises:
        ArtQuantError: the chat holds audio or video, or an image that cannot be opened.
    """
    if isinstance(chat, str):
        chat = [{"role": "user", "content": [{"type": "text", "text": chat}]}]
    images = []
    messages = []
    for message in chat:
        parts = []
        for part in message["content"]:
            if part["type"] == "image":
                images.append(open_image(part["url"], handling=checkpoint.spec.images))
                parts.append({"type": "image"})
            elif part["type"] == "text":
                parts.append({"type": "text", "text": part["text"]})
            else:
                raise ArtQuantError(f"a request holds {part['type']}; artquant reads images and text only")
        messages.append({"role": message["role"], "content": parts})
    return render_chat(checkpoint.processor, messages, add_generation_prompt=True), images


def generation_inputs(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> dict[str, Any]:
    """Model inputs of a batch, padded on the left, so that all answers begin at the same position.

    Args:
        processor: the checkpoint's processor, which rendered the chats.
        texts: n rendered chats, each up to where the answer begins.
        images: for each chat its RGB images (PIL); either all chats have images or none has.

    Returns:
        The processor's output: input_ids and attention_mask of shape (n, L), pixel_values and the like.
    """
    return chat_inputs(processor, texts, images, padding_side="left")


@torch.inference_mode()
def generate_ids(checkpoint: Checkpoint, inputs: dict[str, Any], options: dict[str, Any]) -> Tensor:
    """Generate the token ids of answers.

    Args:
        checkpoint: the checkpoint whose model answers.
        inputs: model inputs of n chats, as `generation_inputs` returns them.
        options: generation options as `generate_batch` takes them.

    Returns:
        Token ids of shape (n, longest answer), padded on the right.
    """
    model = checkpoint.model
    inputs = {name: to_model(value, model) for name, value in inputs.items()}
    length = inputs["input_ids"].shape[1]
    chosen = {name: options[name] for name in GENERATION_OPTIONS if options.get(name) is not None}
    # lmms-eval asks for greedy decoding by temperature=0, which transformers refuses.
    has_temperature = bool(chosen.pop("temperature", 0)) and options["temperature"] > 0
    chosen.setdefault("do_sample", has_temperature)
    if has_temperature and chosen["do_sample"]:
        chosen["temperature"] = options["temperature"]
    elif not chosen["do_sample"]:
        chosen |= {
            "temperature": None,
            "top_p": None,
            "top_k": None,
        }  # the checkpoint's own, which would cause a warning
    stops = _stops(options)
    criteria = StoppingCriteriaList([_Until(stops, checkpoint.processor.tokenizer, length)] if stops else [])
    output = model.generate(
        **inputs, **{"max_new_tokens": MAX_NEW_TOKENS, **chosen}, stopping_criteria=criteria or None
    )
    return output[:, length:]


def read_answers(checkpoint: Checkpoint, ids: Tensor, options: dict[str, Any]) -> list[str]:
    """Decode generated ids.

    Args:
        checkpoint: the checkpoint whose tokenizer decodes.
        ids: token ids of shape (n, L), as `generate_ids` returns them.
        options: generation options, of which ``until`` alone is used.

    Returns:
        The n texts, each up to its first ``until``, without special tokens and surrounding white space.
    """
    answers = checkpoint.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    for stop in _stops(options):
        answers = [answer.split(stop)[0] for answer in answers]
    return [answer.strip() for answer in answers]


def to_model(value: Any, model: Any) -> Any:
    """Move one of a model's inputs to the model's device.

    Args:
        value: an input; what is no tensor is returned as it is. Pinned memory is copied from without waiting.
        model: the model, whose type a floating-point tensor gets.
    """
    if not isinstance(value, Tensor):
        return value
    moved = value.to(model.device, non_blocking=True)
    # A copy that changes the type, too, would convert on the CPU and wait, hence the two steps.
    return moved.to(model.dtype) if value.is_floating_point() else moved


def _stops(options: dict[str, Any]) -> list[str]:
    """The strings at which a text ends, from lmms-eval's ``until``; empty ones are left out."""
    until = options.get("until") or []
    return [stop for stop in ([until] if isinstance(until, str) else until) if stop]


class _Until(StoppingCriteria):
    """Ends a row once its answer contains one of the stops; `read_answers` cuts off the stop and what follows."""

    def __init__(self, stops: Sequence[str], tokenizer: Any, length: int) -> None:
        self.stops = stops
        self.tokenizer = tokenizer
        self.length = length
        # In tokens: each has at least one byte of text, but for special ones.
        self.tail = max(len(stop.encode()) for stop in stops) + 8

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        begin = max(self.length, input_ids.shape[1] - self.tail)
        tails = self.tokenizer.batch_decode(input_ids[:, begin:], skip_special_tokens=True)
        ended = [any(stop in tail for stop in self.stops) for tail in tails]
        return torch.tensor(ended, device=input_ids.device)
