"""Cutting a stream of images into batches, and halving a batch that does not fit into the memory of the GPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.images import ImageSource, header_size

WINDOW = 8  # batches within which images are sorted by size
HEADER_READERS = 4  # threads that read the sizes from the images' headers
AUTO_START = 8  # images; the size with which `auto` begins
AUTO_CEILING = 128  # images; larger batches take longer and are not faster per image
BATCHES_BEFORE_GROWING = 32  # batches that fit, after which `auto:N` tries a larger size again

BatchItem = TypeVar("BatchItem")
Output = TypeVar("Output")


class BatchSize:
    """How many images go through the model at once: a number, or ``auto``, which doubles until memory runs out.

    Args:
        size: a positive number; ``auto``; or ``auto:N``, which after the first batch that does not fit tries to grow
            N - 1 more times, for images whose sizes change in the course of a run. ``auto`` stays at 8 on a CPU, where
            running out of memory ends the process instead of raising an error, and on a Mac's GPU, which shares the
            CPU's memory.
        device: torch's name of the model's device, such as ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
        ceiling: the largest size that ``auto`` tries on a GPU for CUDA; None for `AUTO_CEILING`.

    Attributes:
        current: the number of images in the next batch.

    Raises:
        ArtQuantError: the size is neither a positive number nor ``auto`` nor ``auto:N`` with a positive N.
    """

    def __init__(self, size: int | str, *, device: str, ceiling: int | None = None) -> None:
        text = str(size)
        word, _, searches = text.partition(":")
        self._searches = 0
        if word == "auto" and (not searches or (searches.isdecimal() and int(searches) > 0)):
            self._ceiling = AUTO_START if torch.device(device).type != "cuda" else ceiling or AUTO_CEILING
            self._searches = int(searches or 1)
            self.current = min(AUTO_START, self._ceiling)
        elif text.isdecimal() and int(text) > 0:
            self._ceiling = self.current = int(text)
        else:
            raise ArtQuantError(f"batch size {text} is neither a number from 1 nor auto nor auto:N; use one of these")
        self._growing = True
        self._fitted = 0  # full batches that fitted since the last one that did not

    def fitted(self, count: int) -> None:
        """Take note that a batch of `count` images fitted into memory."""
        if count < self.current:
            return
        self._fitted += 1
        if self._searches and self._fitted >= (1 if self._growing else BATCHES_BEFORE_GROWING):
            self._growing = True
            self.current = min(2 * self.current, self._ceiling)

    def refused(self, count: int) -> None:
        """Take note that a batch of `count` images did not fit into memory, and reduce the size."""
        if count <= self.current:  # a larger batch was made before the size was reduced, and tells nothing new
            while self.current > 1 and self.current >= count:
                self.current //= 2
            self._searches = max(0, self._searches - 1)
            self._growing, self._fitted = False, 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that go through the model together.

    Args:
        positions: the position of each image in the stream, counted from 0.
        sources: the images, in the same order.
    """

    positions: list[int]
    sources: list[ImageSource]


def batches(sources: Iterable[ImageSource], size: BatchSize, *, by_size: bool) -> Iterator[Batch]:
    """Cut a stream into batches.

    Args:
        sources: the images; at most one batch, or with `by_size` one window, is taken from it before it is needed.
        size: the batch size, which may change while batches are taken.
        by_size: whether to sort the images by size within a window of `WINDOW` batches, the largest first, so that
            less is padded. The sizes are read from the images' headers.

    Yields:
        Batches that together hold every image once.
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
            yield Batch([position for position, _ in batch], [source for _, source in batch])


def _area_and_shape(size: tuple[int, int]) -> tuple[int, float]:
    """The sort key of an image: its area, and among equal areas its ratio of width to height."""
    width, height = size
    return width * height, width / height if height else 0.0


def halving(
    items: Sequence[BatchItem], run: Callable[[Sequence[BatchItem]], Output], size: BatchSize
) -> list[tuple[Sequence[BatchItem], Output | None]]:
    """Run a batch, or its halves where the memory of the GPU does not suffice for the whole.

    Args:
        items: the items of the batch, at least one.
        run: computes the output of a batch or of a part of one; it raises `torch.OutOfMemoryError` where it does not
            fit.
        size: the batch size, which is told what fitted and what did not.

    Returns:
        The parts of the batch in their order, each with its output; None is the output of a single item that does not
        fit.
    """
    if len(items) <= size.current:  # a batch that was made before the size was reduced may be larger
        try:
            output = run(items)
        except torch.OutOfMemoryError:
            size.refused(len(items))
        else:
            size.fitted(len(items))
            return [(items, output)]
        # Memory is freed outside the except block, in which the error would still hold the failed pass's tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(items) == 1:
            return [(items, None)]
    middle = (len(items) + 1) // 2
    return [*halving(items[:middle], run, size), *halving(items[middle:], run, size)]
