"""The image processor and the processor of mPLUG-Owl2."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import ProcessorMixin
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling

IMAGE_TOKEN = "<|image|>"
# It writes no system sentence, as the published weights are scored without one; a conversation may contain one.
CHAT_TEMPLATE = (
    "{% macro text(content) %}{% if content is string %}{{ content }}{% else %}"
    "{% for part in content %}{{ '' if loop.first else '\n' }}"
    "{{ '<|image|>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}{% endmacro %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ text(message['content']) + ' ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' + text(message['content']) + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + text(message['content']) + '</s>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def pad_to_square(image: NDArray[np.uint8], colour: tuple[int, ...]) -> NDArray[np.uint8]:
    """Pad an image to a square with one colour, the image in the middle.

    Args:
        image: an RGB image as an array of shape (3, height, width).
        colour: the colour of the padding, one value from 0 to 255 per channel.

    Returns:
        An array of shape (3, side, side), whose side is the image's longer one. Where the padding is an odd number of
        pixels, the one more is below or to the right. A square image is returned as it is.
    """
    _, height, width = image.shape
    if height == width:
        return image
    side = max(height, width)
    square = np.empty((3, side, side), dtype=image.dtype)
    square[:] = np.asarray(colour, dtype=image.dtype)[:, None, None]
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


class MPLUGOwl2ImageProcessor(PilBackend):
    """Drops transparency, pads an image to a square with the mean colour, then resizes and normalises it."""

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"height": 448, "width": 448}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> NDArray[np.uint8]:
        """Drop the alpha channel, as for the published weights; colours under transparent pixels become visible."""
        if isinstance(image, Image.Image):
            return np.asarray(image.convert("RGB"))
        return super().convert_to_rgb(image, input_data_format=input_data_format)

    def _preprocess(  # type: ignore[override]  # options that are not named here are passed on
        self, images: list[NDArray[np.uint8]], *, image_mean: Any, **options: Any
    ) -> Any:
        colour = tuple(int(value * 255) for value in image_mean)
        squares = [pad_to_square(image, colour) for image in images]
        return super()._preprocess(squares, image_mean=image_mean, **options)


class MPLUGOwl2Processor(ProcessorMixin):
    """Image processor and tokenizer of mPLUG-Owl2, which repeats each image token as often as the model needs it.

    Args:
        image_processor: the `MPLUGOwl2ImageProcessor` that makes pixels of images.
        tokenizer: a tokenizer that `tokenization.tokenizer_from_sentencepiece` made; it must know the image token.
        chat_template: a Jinja template for conversations; None for `CHAT_TEMPLATE`.
        tokens_per_image: how many tokens an image has in the model, `MPLUGOwl2Config.tokens_per_image`.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        tokens_per_image: int = 65,
    ) -> None:
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.tokens_per_image = tokens_per_image
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """The text that stands for one image: its token, repeated."""
        return self.image_token * self.tokens_per_image
