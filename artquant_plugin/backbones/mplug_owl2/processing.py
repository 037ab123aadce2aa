"""Images and text -> the inputs of mPLUG-Owl2."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import ProcessorMixin
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling

IMAGE_TOKEN = "<|image|>"
# Without a system sentence, as the published weights are scored; a conversation may bring its own.
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
    """Set an image into the middle of a square of one colour.

    Args:
        image: shape (3, height, width).
        colour: one value per channel, 0 to 255.

    Returns:
        Shape (3, side, side); the side is the image's longer one. An odd remainder goes below or to the right.
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
    """Pads an image to a square with the mean colour, then resizes and normalises it; transparency is dropped."""

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"height": 448, "width": 448}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def convert_to_rgb(self, image: Any, input_data_format: Any = None) -> NDArray[np.uint8]:
        """Drop transparency, as the published weights were trained; what is below it shows."""
        if isinstance(image, Image.Image):
            return np.asarray(image.convert("RGB"))
        return super().convert_to_rgb(image, input_data_format=input_data_format)

    def _preprocess(  # type: ignore[override]  # the options that it does not need are passed on
        self, images: list[NDArray[np.uint8]], *, image_mean: Any, **options: Any
    ) -> Any:
        colour = tuple(int(value * 255) for value in image_mean)
        squares = [pad_to_square(image, colour) for image in images]
        return super()._preprocess(squares, image_mean=image_mean, **options)


class MPLUGOwl2Processor(ProcessorMixin):
    """Image processor and tokenizer; each image's token is repeated for all of its places in the model.

    Args:
        image_processor: a `MPLUGOwl2ImageProcessor`.
        tokenizer: of `artquant_plugin.backbones.mplug_owl2.tokenization`.
        chat_template: `CHAT_TEMPLATE` when left out.
        tokens_per_image: as in the model's configuration.
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
        """The text that stands for one image."""
        return self.image_token * self.tokens_per_image
