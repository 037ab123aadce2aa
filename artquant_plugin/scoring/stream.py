"""A stream of images through a model: prepared ahead, in batches that fit, results in the order given."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import Handling, source_name
from artquant_plugin.scoring.batching import Batch, BatchSize, Source, batches, halving
from artquant_plugin.scoring.prepare import MakeInputs, Prepared, Preparer, dead_workers_are_errors, prepared
from artquant_plugin.scoring.timings import Timings

Result = TypeVar("Result")
Forward = Callable[[dict[str, Any]], Tensor]


@dataclass(frozen=True, slots=True)
class _Launched:
    """A batch that the model has been given.

    Args:
        batch: the images.
        errors: per image, None for those that the model was given.
        parts: these in their order, with the model's output; None where the memory did not suffice.
    """

    batch: Batch
    errors: list[ArtQuantError | None]
    parts: list[tuple[Sequence[Source], Tensor | None]]


class Engine:
    """Runs batches.

    Args:
        model: for its device.
        size: images per batch.
        workers: processes that prepare images; 0 for threads of this process.
        by_size: whether images of like size are to stand together, see `batches`.
        handling: how images are opened, see `open_image`.
    """

    def __init__(
        self, model: Any, *, size: BatchSize, workers: int, by_size: bool, handling: Handling = "as_shown"
    ) -> None:
        self.model = model
        self.size = size
        self.workers = workers
        self.by_size = by_size
        self.handling = handling
        # A GPU works on the next batch while the results of this one are read; a CPU gains nothing by waiting.
        self._lag = 1 if torch.device(model.device).type == "cuda" else 0

    def run(
        self,
        images: Iterable[Source],
        make_inputs: MakeInputs,
        forward: Forward,
        read: Callable[[Sequence[Source], Tensor], Sequence[Result | ArtQuantError]],
        timings: Timings | None = None,
    ) -> Iterator[Result | ArtQuantError]:
        """Answer for each image.

        Args:
            images: the stream; read ahead by some batches, never collected.
            make_inputs: images -> model inputs, in the workers.
            forward: model inputs -> what the results are read from, left on the device.
            read: some images and what the model gave for them -> a result or error for each.
            timings: filled with where the time goes.

        Yields:
            One result or error per image, in the order given.

        Raises:
            ArtQuantError: a worker process died.
        """
        device = self.model.device
        prepare = Preparer(make_inputs, self.handling)
        stream = batches(images, self.size, by_size=self.by_size)
        ahead = prepared(stream, prepare, workers=self.workers, pin_memory=device.type == "cuda")
        launched: deque[_Launched] = deque()
        done: dict[int, Result | ArtQuantError] = {}
        following = 0
        with dead_workers_are_errors(), timings.watching(self.model) if timings else nullcontext():
            while True:
                with timings.during("waiting", device) if timings else nullcontext():
                    batch, ready = next(ahead, (None, None))
                if batch is not None and ready is not None:
                    with timings.during("model", device) if timings else nullcontext():
                        launched.append(self._launch(batch, ready, prepare, forward))
                    if timings:
                        timings.count(len(batch.places), ready.seconds)
                while launched and (batch is None or len(launched) > self._lag):
                    done.update(_results(launched.popleft(), read))
                while following in done:
                    yield done.pop(following)
                    following += 1
                if batch is None:
                    return

    def _launch(self, batch: Batch, ready: Prepared, prepare: Preparer, forward: Forward) -> _Launched:
        """Put a batch through the model, in parts where it does not fit."""
        good = [source for source, error in zip(batch.sources, ready.errors, strict=True) if error is None]

        def run(sources: Sequence[Source]) -> Tensor:
            inputs = ready.inputs if len(sources) == len(good) else prepare(sources).inputs
            assert inputs is not None, "these images were opened before"
            return forward(inputs)

        return _Launched(batch, ready.errors, halving(good, run, self.size) if good else [])


def _results(
    launched: _Launched, read: Callable[[Sequence[Source], Tensor], Sequence[Result | ArtQuantError]]
) -> Iterator[tuple[int, Result | ArtQuantError]]:
    """Place and result of each image of a batch."""
    found: list[Result | ArtQuantError] = []
    for sources, output in launched.parts:
        if output is not None:
            found.extend(read(sources, output))
            continue
        found.append(
            ArtQuantError(
                f"{source_name(sources[0])} does not fit into the memory of the GPU, even alone; scale it down, or "
                "load the checkpoint with dtype=bfloat16 or quantised"
            )
        )
    given = iter(found)
    for place, error in zip(launched.batch.places, launched.errors, strict=True):
        yield place, next(given) if error is None else error
