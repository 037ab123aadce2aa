"""How many images a batch has, which ones, and what happens when it does not fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import header_size

Source = Path | str | bytes | Image.Image
WINDOW = 8  # batches among which images change places so that like sizes stand together
HEADER_READERS = 4  # threads; a header is one small read
AUTO_START = 8
AUTO_CEILING = 128  # beyond it a batch gets longer and not faster
CALM = 32  # batches without trouble after which `auto:N` tries to grow again

Item = TypeVar("Item")
Output = TypeVar("Output")


class BatchSize:
    """Images per forward pass: a number, or ``auto``, which doubles until the memory of the GPU says no.

    Args:
        size: a positive number; ``auto``; or ``auto:N``, which after the first refusal looks N - 1 more times for a
            larger size, for images whose sizes change in the course of a run. On a CPU, where memory that runs out
            ends the process instead of raising an error, and on a Mac's GPU, which shares the CPU's memory, ``auto``
            stays at 8.
        device: ``cuda``, ``cuda:1``, ``mps``, ``cpu``.
        ceiling: the largest size that ``auto`` tries.

    Raises:
        ArtQuantError: a size that is none of these.
    """

    def __init__(self, size: int | str, *, device: str, ceiling: int | None = None) -> None:
        text = str(size)
        word, _, searches = text.partition(":")
        self._searches = 0
        if word == "auto" and (not searches or (searches.isdecimal() and int(searches) > 0)):
            self._ceiling = AUTO_START if torch.device(device).type != "cuda" else ceiling or AUTO_CEILING
            self._searches = int(searches or 1)
            self.current = min(AUTO_START, self._ceiling)
        elif text.removeprefix("-").isdecimal() and int(text) > 0:
            self._ceiling = self.current = int(text)
        else:
            raise ArtQuantError(f"batch size {text} is not positive; use 1 or more, auto or auto:N")
        self._growing = True
        self._calm = 0  # batches of the current size that went through in a row

    def fitted(self, count: int) -> None:
        """A batch of `count` went through."""
        if count < self.current:
            return
        self._calm += 1
        if self._searches and self._calm >= (1 if self._growing else CALM):
            self._growing = True
            self.current = min(2 * self.current, self._ceiling)

    def refused(self, count: int) -> None:
        """A batch of `count` did not fit."""
        if count <= self.current:  # a batch made before an earlier refusal tells nothing new
            while self.current > 1 and self.current >= count:
                self.current //= 2
            self._searches = max(0, self._searches - 1)
            self._growing, self._calm = False, 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that go through the model together.

    Args:
        places: of each in the stream, from 0.
        sources: the images.
    """

    places: list[int]
    sources: list[Source]


def batches(sources: Iterable[Source], size: BatchSize, *, by_size: bool) -> Iterator[Batch]:
    """Cut a stream into batches.

    Args:
        sources: the images; at most one batch, or one window, is taken ahead of what is asked for.
        size: asked anew for every batch.
        by_size: let images of like size stand together within a window of `WINDOW` batches, the largest first, so
            that less is padded. The sizes are read from the images' headers.

    Yields:
        Batches; each place once.
    """
    stream = enumerate(sources)
    while window := list(islice(stream, size.current * (WINDOW if by_size else 1))):
        if by_size:
            with ThreadPoolExecutor(HEADER_READERS) as pool:
                sizes = list(pool.map(header_size, [source for _, source in window]))
            order = sorted(range(len(window)), key=lambda index: _area_and_shape(sizes[index]), reverse=True)
            window = [window[index] for index in order]
        while window:
            batch, window = window[: size.current], window[size.current :]
            yield Batch([place for place, _ in batch], [source for _, source in batch])


def _area_and_shape(size: tuple[int, int]) -> tuple[int, float]:
    width, height = size
    return width * height, width / height if height else 0.0


def halving(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Output], size: BatchSize
) -> list[tuple[Sequence[Item], Output | None]]:
    """Run a batch; where the GPU's memory does not suffice, its halves.

    Args:
        items: the batch.
        run: a batch, or a part of one -> what the model gives.
        size: told what fitted and what did not.

    Returns:
        The parts in their order, each with what the model gave; None for an item that does not even fit alone.
    """
    if len(items) <= size.current:  # a batch made before a refusal may be larger
        try:
            output = run(items)
        except torch.OutOfMemoryError:
            size.refused(len(items))
        else:
            size.fitted(len(items))
            return [(items, output)]
        # Out here nothing holds the failed pass's tensors any more; inside the block its error would.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(items) == 1:
            return [(items, None)]
    middle = (len(items) + 1) // 2
    return [*halving(items[:middle], run, size), *halving(items[middle:], run, size)]
