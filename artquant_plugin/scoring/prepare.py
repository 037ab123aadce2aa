"""Images -> model inputs, ahead of the model: opened, resized, normalised and tokenised by other processes."""

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.data import images
from artquant_plugin.data.images import Handling, ImageError, open_image, source_name
from artquant_plugin.scoring.batching import Batch, Source

AHEAD = 2  # batches that each worker process keeps ready
THREADS = 2  # where there are no worker processes; decoding and scaling release the interpreter's lock
FEW = 3  # batches; fewer are prepared sooner than processes start
MAX_WORKERS = 12  # by default; each opens and scales some 70 images of 1024 pixels a second

MakeInputs = Callable[[list[Image.Image]], dict[str, Any]]


class Prepared(NamedTuple):
    """What one batch becomes.

    Args:
        inputs: model inputs of the images that could be opened, in their order; None when there is none.
        errors: one entry per image of the batch, None for those in `inputs`.
        seconds: that opening and processing took.
    """

    inputs: dict[str, Any] | None
    errors: list[ArtQuantError | None]
    seconds: float


class Preparer:
    """Opens the images of a batch and makes model inputs of them; an image that fails spoils no other.

    Args:
        make_inputs: RGB images -> model inputs on the CPU.
        handling: see `open_image`.
    """

    def __init__(self, make_inputs: MakeInputs, handling: Handling = "as_shown") -> None:
        self.make_inputs = make_inputs
        self.handling = handling

    def __call__(self, sources: Sequence[Source]) -> Prepared:
        """Prepare one batch."""
        started = time.perf_counter()
        opened: list[Image.Image | ArtQuantError] = [self._opened(source) for source in sources]
        good = [image for image in opened if isinstance(image, Image.Image)]
        inputs = None
        try:
            inputs = self.make_inputs(good) if good else None
        except (ValueError, RuntimeError, ArithmeticError, IndexError):
            opened = [self._refused(image, source) for image, source in zip(opened, sources, strict=True)]
            good = [image for image in opened if isinstance(image, Image.Image)]
            inputs = self.make_inputs(good) if good else None
        errors = [image if isinstance(image, ArtQuantError) else None for image in opened]
        return Prepared(inputs, errors, time.perf_counter() - started)

    def _opened(self, source: Source) -> Image.Image | ImageError:
        try:
            return open_image(source, handling=self.handling)
        except ImageError as error:
            return error

    def _refused(self, image: Image.Image | ArtQuantError, source: Source) -> Image.Image | ArtQuantError:
        """Which image it was that the processor does not take."""
        if isinstance(image, ArtQuantError):
            return image
        try:
            self.make_inputs([image])
        except (ValueError, RuntimeError, ArithmeticError, IndexError) as error:
            reason = one_line(error)
            return ArtQuantError(
                f"the checkpoint's processor does not take {source_name(source)} of {image.width} x {image.height} "
                f"({reason}); crop or scale it"
            )
        return image


def default_workers(device: str) -> int:
    """How many processes prepare images when nobody says it.

    None where the model runs on the CPU: they would take from it what they save it. None where processes cannot be
    forked safely, or where this process may have no children.

    Args:
        device: of the model.
    """
    if torch.device(device).type == "cpu" or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 0
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(0, min(MAX_WORKERS, cores - 1))


def prepared(
    batches: Iterable[Batch], prepare: Preparer, *, workers: int, pin_memory: bool = False
) -> Iterator[tuple[Batch, Prepared]]:
    """Prepare batches ahead of whoever takes them.

    Args:
        batches: taken in this process, a few ahead, never collected.
        prepare: what is done to each.
        workers: processes; 0 for threads of this process, which also do it when there are fewer than `FEW` batches.
        pin_memory: put the inputs where a GPU copies from without waiting.

    Yields:
        Each batch and what became of it, in the order given. See `dead_workers_are_errors`.
    """
    stream = iter(batches)
    first = list(islice(stream, FEW)) if workers else []
    batches = chain(first, stream)
    if len(first) < FEW:
        yield from _by_threads(batches, prepare)
    else:
        yield from _by_processes(batches, prepare, workers, pin_memory)


def _by_threads(batches: Iterable[Batch], prepare: Preparer) -> Iterator[tuple[Batch, Prepared]]:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="artquant-images") as pool:
        ahead: deque[tuple[Batch, Future[Prepared]]] = deque()
        for batch in batches:
            ahead.append((batch, pool.submit(prepare, batch.sources)))
            if len(ahead) > THREADS:
                first, future = ahead.popleft()
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()


def _by_processes(
    batches: Iterable[Batch], prepare: Preparer, workers: int, pin_memory: bool
) -> Iterator[tuple[Batch, Prepared]]:
    sent = _Sent(batches)
    loader = DataLoader(
        _Prepares(prepare),
        batch_size=None,
        sampler=sent,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_begin,
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )
    with _quiet_tokenizers():
        results = iter(loader)
    for result in results:
        yield sent.waiting.popleft(), result


@contextmanager
def dead_workers_are_errors() -> Iterator[None]:
    """Say in one line that a worker process died; torch raises it wherever this process then is, the model included.

    Raises:
        ArtQuantError: a worker process died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = one_line(error).removesuffix(".")
        raise ArtQuantError(
            f"a process that prepares images died ({reason}); it ran out of memory or of /dev/shm: use fewer workers, "
            "or workers=0 for none"
        ) from error


class _Sent(Sampler[list[Source]]):
    """The batches as a sampler of the loader, which hands each to the next free worker; remembers their order."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.waiting: deque[Batch] = deque()

    def __iter__(self) -> Iterator[list[Source]]:
        for batch in self.batches:
            self.waiting.append(batch)
            yield batch.sources


class _Prepares(Dataset[Prepared]):
    """A dataset whose keys are batches of sources."""

    def __init__(self, prepare: Preparer) -> None:
        self.prepare = prepare

    def __getitem__(self, sources: Any) -> Prepared:
        return self.prepare(sources)


def _as_it_is(value: Any) -> Any:
    return value


def _begin(worker: int) -> None:
    images.after_fork()


@contextmanager
def _quiet_tokenizers() -> Iterator[None]:
    """Have `tokenizers` use no threads in the processes that are forked meanwhile; else it says so, in each."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
