"""One thread that writes to the store: what comes within a few milliseconds is one commit."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.train.rad.rows import Change, Exchange
from artquant_plugin.train.rad.store import RunStore

GATHER = 0.004  # seconds that a commit waits for company

_Job = tuple[Sequence[Exchange], Sequence[Change], "asyncio.Future[None]"]


class Writer:
    """Writes for an event loop; a context manager.

    Args:
        store: nobody else uses it meanwhile.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="artquant-rad-store")

    async def __aenter__(self) -> "Writer":
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def write(self, exchanges: Sequence[Exchange], changes: Sequence[Change]) -> None:
        """Return once both are on the disk.

        Raises:
            ArtQuantError: they cannot be written.
        """
        written = self._loop.create_future()
        self._jobs.put((exchanges, changes, written))
        await written

    def _work(self) -> None:
        more = True
        while more:
            first = self._jobs.get()
            if first is None:
                return
            jobs = [first]
            time.sleep(GATHER)
            while not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    more = False
                    break
                jobs.append(job)
            error: ArtQuantError | None = None
            try:
                self._store.write([e for job in jobs for e in job[0]], [c for job in jobs for c in job[1]])
            except sqlite3.Error as problem:
                error = ArtQuantError(
                    f"'{self._store.path}' cannot be written ({problem}); make room on its disk and run again to go on"
                )
            self._loop.call_soon_threadsafe(_settle, [job[2] for job in jobs], error)


def _settle(written: Sequence["asyncio.Future[None]"], error: ArtQuantError | None) -> None:
    for future in written:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
