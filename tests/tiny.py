"""Tiny random-weight models and datasets for tests, built where they are needed."""

import functools
from typing import Any

import numpy as np
from PIL import Image

from artquant_plugin.checkpoint import Checkpoint, ScoringSpec
from artquant_plugin.prompting.levels import LevelScale
from artquant_plugin.prompting.prompter import PromptSpec
from artquant_plugin.train.sections import TinyModel
from artquant_plugin.train.tiny import build_tiny_model

SIZES = TinyModel(image_size=32, patch_size=8, hidden=32, vision_layers=1, text_layers=1, heads=2, vocabulary=512)


@functools.cache
def tiny_llava() -> tuple[Any, Any]:
    """Model and processor; shared, so that a test that changes weights makes its own with `build_tiny_model`."""
    return build_tiny_model(SIZES, tiny_texts(), seed=0)


def tiny_texts() -> list[str]:
    spec = PromptSpec()
    answers = [f"{spec.answer_prefix} {name}." for name in LevelScale().names]
    return [spec.question, spec.describe_question, "Perception: warm reds. Cognition: a harbour.", *answers] * 20


def tiny_checkpoint() -> Checkpoint:
    model, processor = tiny_llava()
    return Checkpoint(model=model.eval(), processor=processor, spec=ScoringSpec(), name="tiny")


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (40, 48)) -> list[Image.Image]:
    """RGB noise, each with its own colour."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 200, (count, 1, 1, 3))
    noise = rng.integers(0, 55, (count, *size, 3))
    return [Image.fromarray((colour + grain).astype(np.uint8)) for colour, grain in zip(colours, noise, strict=True)]
