"""Text from a checkpoint: descriptions, and whatever other tasks ask."""

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
MAX_NEW_TOKENS = 512

Messages = list[dict[str, Any]]


def generate(checkpoint: Checkpoint, chat: Messages | str, options: dict[str, Any]) -> str:
    """One answer to one chat; see `generate_batch`."""
    return generate_batch(checkpoint, [chat], options)[0]


def generate_batch(checkpoint: Checkpoint, chats: Sequence[Messages | str], options: dict[str, Any]) -> list[str]:
    """One answer to each chat of a batch.

    Args:
        checkpoint: model and processor.
        chats: in lmms-eval's form, images as ``{"type": "image", "url": <PIL image or path>}``; or plain text. Either
            all of them hold images or none does: processors do not take both in one batch.
        options: generation options, lmms-eval's `until` (one string or several, at which the text ends) included.

    Returns:
        The texts before the first `until`, without special tokens.

    Raises:
        ArtQuantError: a chat holds audio or video, or an image that cannot be opened.
    """
    texts, images = zip(*(rendered(checkpoint, chat) for chat in chats), strict=True)
    inputs = generation_inputs(checkpoint.processor, texts, images)
    ids = generate_ids(checkpoint, inputs, options)
    return read_answers(checkpoint, ids, options)


def rendered(checkpoint: Checkpoint, chat: Messages | str) -> tuple[str, list[Image.Image]]:
    """A chat through the processor's template, up to where the answer begins; and its images."""
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
        processor: of a checkpoint.
        texts: n rendered chats.
        images: those of each; all have some, or none has.
    """
    return chat_inputs(processor, texts, images, padding_side="left")


@torch.inference_mode()
def generate_ids(checkpoint: Checkpoint, inputs: dict[str, Any], options: dict[str, Any]) -> Tensor:
    """Token ids of the answers.

    Args:
        checkpoint: model and processor.
        inputs: of `generation_inputs`.
        options: as in `generate_batch`.

    Returns:
        Shape (n, longest answer), padded on the right.
    """
    model = checkpoint.model
    inputs = {name: to_model(value, model) for name, value in inputs.items()}
    length = inputs["input_ids"].shape[1]
    chosen = {name: options[name] for name in GENERATION_OPTIONS if options.get(name) is not None}
    warm = bool(chosen.pop("temperature", 0)) and options["temperature"] > 0
    chosen.setdefault("do_sample", warm)
    if warm and chosen["do_sample"]:
        chosen["temperature"] = options["temperature"]
    elif not chosen["do_sample"]:
        chosen |= {"temperature": None, "top_p": None, "top_k": None}  # of the checkpoint's own, which would warn
    stops = _stops(options)
    criteria = StoppingCriteriaList([_Until(stops, checkpoint.processor.tokenizer, length)] if stops else [])
    output = model.generate(
        **inputs, **{"max_new_tokens": MAX_NEW_TOKENS, **chosen}, stopping_criteria=criteria or None
    )
    return output[:, length:]


def read_answers(checkpoint: Checkpoint, ids: Tensor, options: dict[str, Any]) -> list[str]:
    """The texts of generated ids, each up to its first stop.

    Args:
        checkpoint: with the tokenizer.
        ids: of `generate_ids`.
        options: as in `generate_batch`.
    """
    answers = checkpoint.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    for stop in _stops(options):
        answers = [answer.split(stop)[0] for answer in answers]
    return [answer.strip() for answer in answers]


def to_model(value: Any, model: Any) -> Any:
    """An input on the model's device, floating-point ones in its type; from pinned memory without waiting."""
    if not isinstance(value, Tensor):
        return value
    moved = value.to(model.device, non_blocking=True)
    # In two steps: a copy that changes the type as well would convert on the CPU, and wait.
    return moved.to(model.dtype) if value.is_floating_point() else moved


def _stops(options: dict[str, Any]) -> list[str]:
    until = options.get("until") or []
    return [stop for stop in ([until] if isinstance(until, str) else until) if stop]


class _Until(StoppingCriteria):
    """Ends a row once its answer holds one of the stops; what stands behind is cut off when the answer is read."""

    def __init__(self, stops: Sequence[str], tokenizer: Any, length: int) -> None:
        self.stops = stops
        self.tokenizer = tokenizer
        self.length = length
        self.tail = max(len(stop.encode()) for stop in stops) + 8  # tokens; each but a special one has a byte or more

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        begin = max(self.length, input_ids.shape[1] - self.tail)
        tails = self.tokenizer.batch_decode(input_ids[:, begin:], skip_special_tokens=True)
        ended = [any(stop in tail for stop in self.stops) for tail in tails]
        return torch.tensor(ended, device=input_ids.device)
