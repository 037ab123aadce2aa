"""Running a model on a stream of images: prepared ahead, in batches that fit, with results in the order given."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from artquant_plugin.common.device import subnormals_as_zero
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import Handling, ImageSource, source_name
from artquant_plugin.scoring.batching import Batch, BatchSize, batches, halving
from artquant_plugin.scoring.prepare import MakeInputs, PreparedBatch, Preparer, dead_workers_are_errors, prepare_ahead
from artquant_plugin.scoring.timings import Timings

ImageResult = TypeVar("ImageResult")
Forward = Callable[[dict[str, Any]], Tensor]


@dataclass(frozen=True, slots=True)
class _LaunchedBatch:
    """A batch that went through the model, and whose results are not read yet.

    Args:
        batch: the images and their positions in the stream.
        errors: one entry per image: its error, or None for an image that went through the model.
        parts: the images that did, in their order and in parts, each with the model's output; None for an image that
            does not fit into memory.
    """

    batch: Batch
    errors: list[ArtQuantError | None]
    parts: list[tuple[Sequence[ImageSource], Tensor | None]]


class StreamRunner:
    """Runs streams of images through a model.

    Args:
        model: the `transformers` model, in a peft wrapper or without one, on its device.
        size: the batch size, which adapts to the memory where it is ``auto``.
        workers: processes that prepare images; 0 for threads of this process.
        by_size: whether to batch images of similar size together, which saves padding in models whose inputs grow
            with the image.
        handling: how image files are opened, ``as_shown`` or ``as_stored``, as for `open_image`.
    """

    def __init__(
        self, model: Any, *, size: BatchSize, workers: int, by_size: bool, handling: Handling = "as_shown"
    ) -> None:
        self.model = model
        self.size = size
        self.workers = workers
        self.by_size = by_size
        self.handling = handling
        # On a GPU, results are read one batch late, while it computes the next; a CPU would gain nothing by that.
        self._lag = 1 if torch.device(model.device).type == "cuda" else 0

    def run(
        self,
        images: Iterable[ImageSource],
        make_inputs: MakeInputs,
        forward: Forward,
        read: Callable[[Sequence[ImageSource], Tensor], Sequence[ImageResult | ArtQuantError]],
        timings: Timings | None = None,
    ) -> Iterator[ImageResult | ArtQuantError]:
        """Compute a result for each image of a stream.

        Args:
            images: the stream, which may be endless: it is read a few batches ahead.
            make_inputs: makes model inputs of RGB images; it runs in the worker processes.
            forward: computes an output from model inputs, and leaves it on the device.
            read: makes a result, or an error, for each of some images from the model's output for them.
            timings: where to record how long each part takes; None to measure nothing.

        Yields:
            One result or error per image, in the order given.

        Raises:
            ArtQuantError: a worker process died.
            MachineError: this machine does not let an image be read, or has too little memory.
        """
        device = self.model.device
        prepare = Preparer(make_inputs, self.handling)
        stream = batches(images, self.size, by_size=self.by_size)
        ahead = prepare_ahead(stream, prepare, workers=self.workers, pin_memory=device.type == "cuda")
        launched: deque[_LaunchedBatch] = deque()
        done: dict[int, ImageResult | ArtQuantError] = {}
        next_position = 0
        with dead_workers_are_errors(), timings.watching(self.model) if timings else nullcontext():
            while True:
                with timings.during("waiting", device) if timings else nullcontext():
                    batch, ready = next(ahead, (None, None))
                if batch is not None and ready is not None:
                    with subnormals_as_zero(device), timings.during("model", device) if timings else nullcontext():
                        launched.append(self._launch(batch, ready, prepare, forward))
                    if timings:
                        timings.count(len(batch.positions), ready.seconds)
                while launched and (batch is None or len(launched) > self._lag):
                    done.update(_results(launched.popleft(), read))
                while next_position in done:
                    yield done.pop(next_position)
                    next_position += 1
                if batch is None:
                    return

    def _launch(self, batch: Batch, ready: PreparedBatch, prepare: Preparer, forward: Forward) -> _LaunchedBatch:
        """Run a batch through the model, in parts where it does not fit."""
        good = [source for source, error in zip(batch.sources, ready.errors, strict=True) if error is None]
        launched: list[tuple[Sequence[ImageSource], Tensor | None]] = []
        for count, inputs in ready.parts:
            part, good = good[:count], good[count:]
            launched.extend(halving(part, partial(_forward, part, inputs, prepare, forward), self.size))
        return _LaunchedBatch(batch, ready.errors, launched)


def _forward(
    whole: Sequence[ImageSource],
    inputs: dict[str, Any],
    prepare: Preparer,
    forward: Forward,
    sources: Sequence[ImageSource],
) -> Tensor:
    """The model's output for images that were opened before: for all of a part, or for some of it, prepared anew."""
    if len(sources) == len(whole):
        return forward(inputs)
    again = prepare(sources).parts
    assert again, "these images were opened before"
    return torch.cat([forward(each) for _, each in again])


def _results(
    launched: _LaunchedBatch, read: Callable[[Sequence[ImageSource], Tensor], Sequence[ImageResult | ArtQuantError]]
) -> Iterator[tuple[int, ImageResult | ArtQuantError]]:
    """Position in the stream and result, or error, of each image of a batch."""
    results: list[ImageResult | ArtQuantError] = []
    for sources, output in launched.parts:
        if output is not None:
            results.extend(read(sources, output))
            continue
        results.append(
            ArtQuantError(
                f"{source_name(sources[0])} does not fit into the memory of the GPU, even alone; scale it down, or "
                "load the checkpoint with dtype=bfloat16 or quantised"
            )
        )
    in_order = iter(results)
    for position, error in zip(launched.batch.positions, launched.errors, strict=True):
        yield position, next(in_order) if error is None else error
