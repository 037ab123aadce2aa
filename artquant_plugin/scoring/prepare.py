"""Opening images and turning them into model inputs in other processes, ahead of the model."""

import multiprocessing
import os
import signal
import sys
import threading
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

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.machine import is_machine_fault, machine_error
from artquant_plugin.common.text import one_line
from artquant_plugin.common.workers import end_with_parent
from artquant_plugin.data import images
from artquant_plugin.data.image_memory import held_together
from artquant_plugin.data.images import Handling, ImageError, ImageSource, open_image, source_name
from artquant_plugin.scoring.batching import Batch

BATCHES_PER_WORKER = 2  # batches that each worker process keeps ready
THREADS = 2  # without worker processes; decoding and scaling release the interpreter's lock
FEWEST_BATCHES = 3  # fewer batches are prepared sooner by threads than processes start
MAX_WORKERS = 12  # the largest default; each process opens and scales some 70 images of 1024 pixels a second

MakeInputs = Callable[[list[Image.Image]], dict[str, Any]]


class PreparedPart(NamedTuple):
    """The model inputs of some images that are next to each other in a batch.

    Args:
        images: the number of images, from 1.
        inputs: their model inputs, in their order.
    """

    images: int
    inputs: dict[str, Any]


class PreparedBatch(NamedTuple):
    """The model inputs of one batch.

    Args:
        parts: model inputs of the images that could be opened and processed, in their order: one part, unless the
            batch has more pixels than memory holds at one time and the inputs of its parts differ in shape; none
            without any image.
        errors: one entry per image of the batch: its error, or None for an image in one of the parts.
        seconds: the time that opening and processing took, in seconds.
    """

    parts: list[PreparedPart]
    errors: list[ArtQuantError | None]
    seconds: float

    @property
    def inputs(self) -> dict[str, Any] | None:
        """The model inputs of all images where they are in one part; None without any image."""
        assert len(self.parts) < 2, "the parts of this batch have inputs of their own"
        return self.parts[0][1] if self.parts else None


class Preparer:
    """Opens the images of a batch and makes model inputs of them; an image that fails does not affect the others.

    Pictures that are all that memory holds at one time are made into inputs before further ones are opened, so that it
    does not grow with the batch. Processors treat each image by itself, so that the inputs are the same.

    Args:
        make_inputs: makes model inputs, on the CPU, of a list of RGB images.
        handling: how image files are opened, ``as_shown`` or ``as_stored``, as for `open_image`.
    """

    def __init__(self, make_inputs: MakeInputs, handling: Handling = "as_shown") -> None:
        self.make_inputs = make_inputs
        self.handling = handling

    def __call__(self, sources: Sequence[ImageSource]) -> PreparedBatch:
        """Open the images and make model inputs of those that can be opened and processed.

        Args:
            sources: the images of one batch.

        Raises:
            MachineError: this machine does not let an image be read, or has too little memory.
        """
        started = time.perf_counter()
        parts: list[PreparedPart] = []
        errors: list[ArtQuantError | None] = []
        opened = ((self._opened(source), source) for source in sources)
        for held in held_together(opened, lambda pair: picture_pixels(pair[0])):
            self._make_part(held, parts, errors)
        return PreparedBatch(_joined(parts), errors, time.perf_counter() - started)

    def _make_part(
        self,
        held: Sequence[tuple[Image.Image | ArtQuantError, ImageSource]],
        parts: list[PreparedPart],
        errors: list[ArtQuantError | None],
    ) -> None:
        """Add the model inputs of some images to the parts, if there are any, and an entry for each to the errors."""
        opened = [image for image, _ in held]
        good = [image for image in opened if isinstance(image, Image.Image)]
        inputs = None
        try:
            inputs = self.make_inputs(good) if good else None
        except (ValueError, RuntimeError, ArithmeticError, IndexError, MemoryError) as error:
            if is_machine_fault(error):
                raise machine_error(error, "a batch of images cannot be prepared") from error
            opened = [self._processable(image, source) for image, source in held]
            good = [image for image in opened if isinstance(image, Image.Image)]
            inputs = self.make_inputs(good) if good else None
        errors.extend(image if isinstance(image, ArtQuantError) else None for image in opened)
        if inputs is not None:
            parts.append(PreparedPart(len(good), inputs))

    def _opened(self, source: ImageSource) -> Image.Image | ImageError:
        try:
            return open_image(source, handling=self.handling)
        except ImageError as error:
            return error

    def _processable(self, image: Image.Image | ArtQuantError, source: ImageSource) -> Image.Image | ArtQuantError:
        """The image, or an error where the processor does not take it when it is the only one."""
        if isinstance(image, ArtQuantError):
            return image
        try:
            self.make_inputs([image])
        except (ValueError, RuntimeError, ArithmeticError, IndexError, MemoryError) as error:
            if is_machine_fault(error):
                raise machine_error(error, f"{source_name(source)} cannot be prepared") from error
            reason = one_line(error)
            return ArtQuantError(
                f"the checkpoint's processor does not take {source_name(source)} of {image.width} x {image.height} "
                f"({reason}); crop or scale it"
            )
        return image


def picture_pixels(picture: Any) -> int:
    """The number of an opened picture's pixels; 0 for anything else, such as a path or an error."""
    return picture.width * picture.height if isinstance(picture, Image.Image) else 0


def _joined(parts: list[PreparedPart]) -> list[PreparedPart]:
    """All parts as one, where their inputs have the same shapes and so are those that the whole batch would have.

    Inputs of other shapes would have been padded in a way that the processor alone knows; the parts stay apart.
    """
    if len(parts) < 2:
        return parts
    first = parts[0].inputs
    for _, inputs in parts[1:]:
        if inputs.keys() != first.keys():
            return parts
        for name, value in inputs.items():
            if not isinstance(value, torch.Tensor) or not isinstance(first[name], torch.Tensor):
                return parts
            if value.ndim != first[name].ndim or value.ndim == 0 or value.shape[1:] != first[name].shape[1:]:
                return parts
    whole = {name: torch.cat([inputs[name] for _, inputs in parts]) for name in first}
    return [PreparedPart(sum(count for count, _ in parts), whole)]


def default_workers(device: str) -> int:
    """How many processes prepare images when the user names no number.

    The number is 0 where the model runs on the CPU, because the processes would compete with it, and where processes
    cannot be forked safely or this process must not have children.

    Args:
        device: torch's name of the device that the model runs on.

    Returns:
        At most `MAX_WORKERS`, and fewer than this process's share of the cores.
    """
    if torch.device(device).type == "cpu" or sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 0
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(0, min(MAX_WORKERS, cores - 1))


def prepare_ahead(
    batches: Iterable[Batch], prepare: Preparer, *, workers: int, pin_memory: bool = False
) -> Iterator[tuple[Batch, PreparedBatch]]:
    """Prepare batches before the consumer asks for them.

    A worker process that dies raises an error in this process at any later point; run the consumer within
    `dead_workers_are_errors`.

    Args:
        batches: the batches, of which this process takes a few ahead and keeps no more.
        prepare: opens and processes the images of a batch.
        workers: the number of processes; 0 for threads of this process, which also prepare a stream of fewer than
            `FEWEST_BATCHES` batches.
        pin_memory: whether to put the inputs into memory from which a GPU copies without waiting.

    Yields:
        Each batch with its model inputs, in the order given.

    Raises:
        MachineError: this machine does not let an image be read, or has too little memory.
    """
    stream = iter(batches)
    first = list(islice(stream, FEWEST_BATCHES)) if workers else []
    batches = chain(first, stream)
    if len(first) < FEWEST_BATCHES:
        yield from _by_threads(batches, prepare)
    else:
        yield from _by_processes(batches, prepare, workers, pin_memory)


def _by_threads(batches: Iterable[Batch], prepare: Preparer) -> Iterator[tuple[Batch, PreparedBatch]]:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="artquant-images") as pool:
        ahead: deque[tuple[Batch, Future[PreparedBatch]]] = deque()
        for batch in batches:
            ahead.append((batch, pool.submit(prepare, batch.sources)))
            if len(ahead) > THREADS:
                first, future = ahead.popleft()
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()


def _by_processes(
    batches: Iterable[Batch], prepare: Preparer, workers: int, pin_memory: bool
) -> Iterator[tuple[Batch, PreparedBatch]]:
    sampler = _BatchSampler(batches)
    loader = DataLoader(
        _BatchDataset(prepare),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=BATCHES_PER_WORKER,
        collate_fn=_unchanged,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )
    results: Any = None
    try:
        with _quiet_tokenizers(), _interruption_waits():
            results = iter(loader)
        for result in results:
            if isinstance(result, MachineError):
                raise result
            yield sampler.sent.popleft(), result
    finally:
        del results  # ends the workers now; the traceback of an error would keep them to the end of the process


@contextmanager
def dead_workers_are_errors() -> Iterator[None]:
    """Turn torch's error about a dead worker process into one line.

    Torch raises it in whatever code this process then runs, the model's forward pass included.

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


class _BatchSampler(Sampler[list[ImageSource]]):
    """Hands batches to torch's loader, which sends each to a free worker, and keeps those that were sent in order."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.sent: deque[Batch] = deque()

    def __iter__(self) -> Iterator[list[ImageSource]]:
        for batch in self.batches:
            self.sent.append(batch)
            yield batch.sources


class _BatchDataset(Dataset[PreparedBatch | MachineError]):
    """A dataset for torch's loader whose keys are the image sources of a batch.

    A fault of the machine is returned: torch would write a worker's whole trace into the message of what is raised.
    """

    def __init__(self, prepare: Preparer) -> None:
        self.prepare = prepare

    def __getitem__(self, sources: Any) -> PreparedBatch | MachineError:
        try:
            return self.prepare(sources)
        except MachineError as error:
            return error


def _unchanged(value: Any) -> Any:
    return value


def _start_worker(worker: int) -> None:
    end_with_parent()  # torch's own watch waits for ever when the pipe to the parent is full
    images.after_fork()
    sys.excepthook = _tell_unless_cut_off


def _tell_unless_cut_off(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print an error that nothing caught in a worker, but for connections that the parent cut off when it was ended.

    A thread of `multiprocessing` hands tensors to the parent. It prints a traceback when the parent is interrupted
    while it takes one.
    """
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


@contextmanager
def _interruption_waits() -> Iterator[None]:
    """Let Ctrl-C take effect when the block ends, and have it do nothing in the processes that the block forks.

    Torch's loader prints a traceback when it is interrupted while it starts its processes. These end with this one,
    which a terminal interrupts as well.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _quiet_tokenizers() -> Iterator[None]:
    """Have `tokenizers` use no threads in the processes forked in the block; else each of them prints a warning."""
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
