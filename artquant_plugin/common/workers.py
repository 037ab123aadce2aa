"""Worker processes: they end with the process that made them, and one that dies is told in one line."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection

from artquant_plugin.common.errors import MachineError

SECONDS_BETWEEN_LOOKS = 1.0  # how often a worker looks whether its parent is there, beside waiting for its end


@contextmanager
def process_pool(workers: int | None) -> Iterator[ProcessPoolExecutor]:
    """Make a pool of processes that end with this one, also when it is killed.

    Args:
        workers: the number of processes, from 1; None for one per core.

    Raises:
        MachineError: one of the processes was ended from outside.
    """
    try:
        with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise MachineError(
            "a worker process was ended from outside, as the system does when memory runs out; end other programs, "
            "then run again"
        ) from error


def end_with_parent() -> None:
    """Have this worker process end at once when the process that made it ends, however that ends.

    Without this, workers whose parent is killed wait for work for ever. It does nothing in a process that
    `multiprocessing` did not make.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        watched = (parent.sentinel, os.getppid())
        threading.Thread(target=_end_after, args=watched, name="artquant-parent", daemon=True).start()


def _end_after(sentinel: int, parent: int) -> None:
    """End this process when the sentinel, a pipe to the parent, is closed, or when another process is the parent.

    The sentinel alone would not do: every process that the parent forked later holds the pipe open as well, until it
    ends itself, and one that is stopped or that this package did not make may never end.
    """
    while not connection.wait([sentinel], timeout=SECONDS_BETWEEN_LOOKS) and os.getppid() == parent:
        pass
    os._exit(1)  # without clean-up, which could wait for a pipe that nobody reads any more
