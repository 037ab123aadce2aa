"""Where the time of scoring goes; measured only for whoever asks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from artquant_plugin.backbones.interface import core
from artquant_plugin.common.device import synchronize


@dataclass(slots=True)
class Timings:
    """Filled while images are scored with it; all in seconds.

    The device is waited for after each part, so a measured run on a GPU is a little slower than one that is not.

    Args:
        images: scored, or found unusable.
        batches: forward passes.
        waiting: for images that were not ready.
        preparing: opening and processing, summed over workers; it overlaps with the rest.
        model: forward passes, copies to the device and vision included.
        vision: the vision encoder alone; 0 where the model does not name it.
        total: from the first image taken to the last result.
    """

    images: int = 0
    batches: int = 0
    waiting: float = 0.0
    preparing: float = 0.0
    model: float = 0.0
    vision: float = 0.0
    total: float = 0.0
    _started: float = field(default=0.0, repr=False)

    @property
    def rest(self) -> float:
        """What is neither waiting nor the model: results, batches, the caller's own work between results."""
        return self.total - self.waiting - self.model

    def count(self, images: int, preparing: float) -> None:
        """Add a batch.

        Args:
            images: in it.
            preparing: seconds that a worker spent on it.
        """
        self.images += images
        self.batches += 1
        self.preparing += preparing

    @contextmanager
    def during(self, part: str, device: torch.device) -> Iterator[None]:
        """Add the time of a block to a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            synchronize(device)
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)

    @contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Add the time that a model's vision encoder takes within a block, and the block's own to `total`.

        Args:
            model: of `transformers`, peft-wrapped or not.
        """
        inner = core(model)
        encoder = inner.get_encoder(modality="image")
        hooks = []
        if encoder is not inner:

            def before(module: Any, args: Any) -> None:
                synchronize(inner.device)
                self._started = time.perf_counter()

            def after(module: Any, args: Any, output: Any) -> None:
                synchronize(inner.device)
                self.vision += time.perf_counter() - self._started

            hooks = [encoder.register_forward_pre_hook(before), encoder.register_forward_hook(after)]
        started = time.perf_counter()
        try:
            yield
        finally:
            self.total += time.perf_counter() - started
            for hook in hooks:
                hook.remove()
