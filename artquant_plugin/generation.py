"""Text from a checkpoint: descriptions, and whatever other tasks ask."""

from typing import Any

import torch

from artquant_plugin.chat import chat_inputs, render_chat
from artquant_plugin.checkpoint import Checkpoint
from artquant_plugin.errors import ArtQuantError

GENERATION_OPTIONS = ("max_new_tokens", "temperature", "top_p", "num_beams", "do_sample")


@torch.inference_mode()
def generate(checkpoint: Checkpoint, messages: list[dict[str, Any]] | str, options: dict[str, Any]) -> str:
    """One answer.

    Args:
        checkpoint: model and processor.
        messages: a chat in lmms-eval's form, images as ``{"type": "image", "url": <PIL image>}``; or plain text.
        options: generation options, lmms-eval's `until` (one string or several, at which the text ends) included.

    Returns:
        The text before the first `until`, without special tokens.

    Raises:
        ArtQuantError: the chat holds audio or video.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": [{"type": "text", "text": messages}]}]
    images = []
    chat = []
    for message in messages:
        parts = []
        for part in message["content"]:
            if part["type"] == "image":
                images.append(part["url"].convert("RGB"))
                parts.append({"type": "image"})
            elif part["type"] == "text":
                parts.append({"type": "text", "text": part["text"]})
            else:
                raise ArtQuantError(f"a request holds {part['type']}; artquant reads images and text only")
        chat.append({"role": message["role"], "content": parts})
    text = render_chat(checkpoint.processor, chat, add_generation_prompt=True)
    model = checkpoint.model
    inputs = {
        name: value.to(model.device, dtype=model.dtype if value.is_floating_point() else None)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in chat_inputs(checkpoint.processor, [text], [images], padding_side="left").items()
    }
    chosen = {name: options[name] for name in GENERATION_OPTIONS if options.get(name) is not None}
    if chosen.get("temperature") == 0:
        del chosen["temperature"]
        chosen["do_sample"] = False
    output = model.generate(**inputs, **{"max_new_tokens": 512, **chosen})
    answer = checkpoint.processor.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    until = options.get("until") or []
    for stop in [until] if isinstance(until, str) else until:
        answer = answer.split(stop)[0] if stop else answer
    return answer.strip()
