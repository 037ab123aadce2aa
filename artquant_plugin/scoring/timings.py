"""How long the parts of scoring take; measured only where a caller asks for it."""

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
    """Counts and times of scoring, filled while images are scored with it; times are in seconds.

    Each part ends with waiting for the device, so a measured run on a GPU is a little slower than another.

    Args:
        images: the number of images that were scored or failed.
        batches: the number of batches that went through the model.
        waiting: the time in which the model waited for images that were not ready.
        preparing: the time of opening and processing images, summed over all workers; it overlaps with other times.
        model: the time of the forward passes, copies to the device and the vision encoder included.
        vision: the time of the vision encoder alone; 0 where the model does not name its encoder.
        total: the time from the first image that was taken to the last result.
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
        """The time for all but waiting and the model: reading results, batching, the caller's work between results."""
        return self.total - self.waiting - self.model

    def count(self, images: int, preparing: float) -> None:
        """Add a batch to the counts.

        Args:
            images: the number of images in the batch.
            preparing: the seconds that a worker spent on preparing it.
        """
        self.images += images
        self.batches += 1
        self.preparing += preparing

    @contextmanager
    def during(self, part: str, device: torch.device) -> Iterator[None]:
        """Measure a block, and add its time to a part.

        Args:
            part: the name of a field, ``waiting`` or ``model``.
            device: the device that the block computes on, which is waited for at the end.
        """
        started = time.perf_counter()
        try:
            yield
        finally:
            synchronize(device)
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)

    @contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Measure a block: add its time to `total`, and that of the model's vision encoder in it to `vision`.

        Args:
            model: a `transformers` model, in a peft wrapper or without one.
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
