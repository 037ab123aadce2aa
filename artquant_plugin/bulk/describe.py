"""Descriptions: a checkpoint's text about each image, and the three levels in it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

from artquant_plugin.bulk.items import Item, opened
from artquant_plugin.checkpoint import Checkpoint, load_checkpoint
from artquant_plugin.errors import ArtQuantError
from artquant_plugin.images import open_image
from artquant_plugin.prompts import DESCRIPTION_LEVELS

_HEADING = re.compile(rf"[*_]*(?<![^\W_])({'|'.join(DESCRIPTION_LEVELS)})[*_]*\s*:[*_]*\s*", re.IGNORECASE)


def split_description(text: str) -> dict[str, str | None]:
    """The three levels of a description, None for those that it has not.

    Args:
        text: with headings as `artquant_plugin.prompts.join_description` writes them, in any order.

    Example:
        >>> split_description("Perception: Warm reds. Emotion: Calm.")
        {'perception': 'Warm reds.', 'cognition': None, 'emotion': 'Calm.'}
    """
    levels: dict[str, str | None] = dict.fromkeys(DESCRIPTION_LEVELS)
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    for heading, end in zip(headings, ends, strict=False):  # without a heading there is one end too many
        name = heading[1].lower()
        body = text[heading.end() : end].strip()
        if body and levels[name] is None:
            levels[name] = body
    return levels


@dataclass(frozen=True, slots=True)
class Describer:
    """A checkpoint that writes.

    Args:
        checkpoint: model, processor, scoring file.
        max_new_tokens: where a description ends at the latest.
    """

    checkpoint: Checkpoint
    max_new_tokens: int = 512

    @classmethod
    def from_pretrained(
        cls, pretrained: str, *, dtype: str, attn: str, device: str | None, max_new_tokens: int
    ) -> "Describer":
        """See `artquant_plugin.checkpoint.load_checkpoint`."""
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(load_checkpoint(pretrained, dtype=dtype, device=device, attn=attn), max_new_tokens)

    def text(self, image: Image.Image) -> str:
        """The answer to the checkpoint's own description question, without sampling."""
        from artquant_plugin.generation import generate

        prompt = self.checkpoint.spec.prompt
        content = [{"type": "image", "url": image}, {"type": "text", "text": prompt.describe_question}]
        if not prompt.image_first:
            content.reverse()
        options = {"max_new_tokens": self.max_new_tokens, "do_sample": False}
        return generate(self.checkpoint, [{"role": "user", "content": content}], options)


def describe_items(describer: Describer, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    """A row per image: path, text, perception, cognition, emotion, and the reason why there is none."""
    for item in items:
        try:
            image = opened(item)
            picture = image if isinstance(image, Image.Image) else open_image(image)
            text = describer.text(picture)
        except ArtQuantError as error:
            yield {"path": item.name, "text": None, **dict.fromkeys(DESCRIPTION_LEVELS), "reason": str(error)}
            continue
        yield {"path": item.name, "text": text, **split_description(text), "reason": None}
