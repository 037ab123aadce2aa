"""One process's share of a run: endpoints opened and checked, signals heard, live engine or batches."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin.train.rad.batch import Batches
from artquant_plugin.train.rad.endpoint import Endpoint
from artquant_plugin.train.rad.engine import Live
from artquant_plugin.train.rad.limits import Budget
from artquant_plugin.train.rad.meter import Meter, Summary, summary
from artquant_plugin.train.rad.pictures import Pictures
from artquant_plugin.train.rad.plan import Plan
from artquant_plugin.train.rad.rows import Side
from artquant_plugin.train.rad.store import RunStore
from artquant_plugin.train.rad.writer import Writer


@dataclass(frozen=True, slots=True)
class Options:
    """What `artquant_plugin.train.rad.run.generate` was asked for."""

    splits: Sequence[str] | None
    limit: int | None
    max_cost: float | None
    batch: bool
    show: bool
    say: Callable[[str], None]


def session(planned: Plan, store: RunStore, run: Path, keys: Mapping[Side, str | None], options: Options) -> Summary:
    """Work until all is done, or the run has to stop.

    Raises:
        ArtQuantError: an endpoint that does not answer, a store that cannot be written.
        KeyboardInterrupt: the user asked twice.
    """
    try:
        return asyncio.run(_Session(planned, store, run, keys, options).work())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


class _Session:
    def __init__(
        self, planned: Plan, store: RunStore, run: Path, keys: Mapping[Side, str | None], options: Options
    ) -> None:
        self.planned = planned
        self.store = store
        self.run = run
        self.keys = keys
        self.options = options
        self.interrupted = False

    async def work(self) -> Summary:
        """The whole session."""
        stop = asyncio.Event()
        config = self.planned.config
        endpoints: dict[Side, Endpoint] = {
            "generator": Endpoint("generator", config.generator, self.keys["generator"], self._known("generator")),
            "judge": Endpoint("judge", config.judge, self.keys["judge"], self._known("judge")),
        }
        try:
            for endpoint in endpoints.values():
                await endpoint.check()
            with self._signals(stop):
                return await self._work(endpoints, stop)
        finally:
            for endpoint in endpoints.values():
                await endpoint.close()

    async def _work(self, endpoints: dict[Side, Endpoint], stop: asyncio.Event) -> Summary:
        options, store = self.options, self.store
        budget = Budget(options.max_cost, store.cost())
        for part in store.open_parts():
            budget.hold(part.reserved)
        positions = store.positions(options.splits, options.limit)
        meter = Meter(len(positions) + sum(part.items for part in store.open_parts()), store.counts()["refining"],
                      budget.spent, options.show)  # fmt: skip
        try:
            with (
                Pictures(self.planned.data.image_root, self.planned.config.images) as pictures,
                RunStore(store.path, readonly=True) as reader,
            ):

                async def live(positions: Sequence[int], sides: Sequence[Side]) -> None:
                    chosen: dict[Side, Endpoint] = {side: endpoints[side] for side in sides}
                    async with Writer(store) as writer:
                        engine = Live(
                            self.planned.steps, reader, writer, pictures, chosen, budget, meter, stop,
                            self.planned.config.give_up_after,
                        )  # fmt: skip
                        await engine.run(positions)

                if options.batch:
                    batches = Batches(
                        self.planned.steps, store, self.run / "batches", pictures, endpoints, budget, meter, stop,
                        live, options.say,
                    )  # fmt: skip
                    await batches.run(options.splits, options.limit)
                else:
                    await live(positions, ("generator", "judge"))
        finally:
            seconds = meter.close()
            for side, endpoint in endpoints.items():
                if endpoint.structured is not None and endpoint.section.structured == "auto":
                    store.set_fact(f"structured.{side}", str(int(endpoint.structured)))
        found = summary(store)
        found.finished, found.requests, found.seconds = meter.finished.total(), meter.requests, seconds
        found.left = len(store.positions(options.splits, options.limit)) + sum(p.items for p in store.open_parts())
        found.over_budget, found.interrupted = budget.exhausted and found.left > 0, self.interrupted
        return found

    def _known(self, side: Side) -> bool | None:
        fact = self.store.fact(f"structured.{side}")
        return None if fact is None else fact == "1"

    @contextmanager
    def _signals(self, stop: asyncio.Event) -> Iterator[None]:
        """The first Ctrl-C, or SIGTERM, asks for no more; the second ends the process."""
        # Python hears signals in the main thread alone, and asyncio takes none on Windows, where Ctrl-C ends the run.
        if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def heard() -> None:
            if self.interrupted:
                task.cancel()
                return
            self.interrupted = True
            self.options.say("finishing what is in flight; once more to end at once")
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, heard)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
