"""What `artquant rad generate` does: it prepares the run directory, checks what it can before it sends, and works."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import refuse_link
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.common.run_record import only_writer, refuse_changes
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.endpoint import Endpoint, read_key
from artquant_plugin.train.rad.limits import Budget, UsableReplies
from artquant_plugin.train.rad.live import LiveEngine
from artquant_plugin.train.rad.meter import RadMeter, RadSummary, summary
from artquant_plugin.train.rad.pictures import Pictures, check_images
from artquant_plugin.train.rad.plan import RadPlan, check_options
from artquant_plugin.train.rad.record import LOCK_FILE, RECORD_FILE, RunRecord
from artquant_plugin.train.rad.store import STORE_FILE, RunStore, StoreWriter
from artquant_plugin.train.rad.store_rows import Side

ANNOUNCED_FROM = 5000  # the check of more images than this takes so long that a line announces it


def generate(
    planned: RadPlan,
    run: Path,
    *,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    max_cost: float | None = None,
    retry_failed: bool = False,
    batch: bool = False,
    show: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> RadSummary:
    """Describe every painting that is not described yet; this also continues a run that was stopped or killed.

    Args:
        planned: dataset, prompts and configuration, from `artquant_plugin.train.rad.plan.plan`.
        run: the run directory; made when absent.
        splits: names of the splits whose paintings are described; None for all splits.
        limit: only the first so many paintings of these splits, finished ones counted; None for all paintings.
        max_cost: the most that may be spent, earlier runs in the same directory counted, in the configuration's
            currency. The run stops before a request that might pass it; None for no limit.
        retry_failed: ask again about paintings that failed.
        batch: use the Batch API for each side whose configuration says ``batch: true``; ask the other side live.
        show: draw a progress bar, where the error stream is a terminal.
        say: is called with a line of text before a long check, about each batch, and at the first Ctrl-C.

    Returns:
        What the run directory holds, and what this process did.

    Raises:
        ArtQuantError: the options do not fit the dataset, the directory holds a run that was made from something else,
            another process works on it, a key or a picture is missing, an endpoint does not answer, or the store
            cannot be written. The store keeps what was written before.
        MachineError: this machine cannot go on: a full disk, too many open files, a missing right.
        KeyboardInterrupt: the user asked to stop twice.
    """
    check_options(planned, splits, limit, max_cost)
    with machine_faults(f"'{run}' cannot be written"), only_writer(run / LOCK_FILE, run):
        _make_or_continue_run(planned, run)
        with RunStore(run / STORE_FILE) as store:
            if retry_failed:
                store.retry_failed()
            store.keep_chosen(splits, limit)
            positions = store.positions(splits, limit)
            if not positions and not store.open_parts():
                return summary(store)
            keys: dict[Side, str | None] = {
                "generator": read_key("generator", planned.config.generator),
                "judge": read_key("judge", planned.config.judge),
            }
            store.keys = tuple(keys.values())
            if len(positions) > ANNOUNCED_FROM:
                say(f"looking at the headers of {len(positions):,} images")
            check_images(planned.data.image_root, store.items(positions))
            try:
                return asyncio.run(
                    _RunProcess(planned, store, run, keys, splits, limit, max_cost, batch, show, say).work()
                )
            except asyncio.CancelledError as error:
                raise KeyboardInterrupt from error


def _make_or_continue_run(planned: RadPlan, run: Path) -> None:
    """Make the run directory, or check that the run in it was made from what this run is made from.

    If no request of the earlier run was answered or paid for, and no batch file was uploaded, the run starts over, so
    that correcting a wrong model name needs no new `--out`.

    Raises:
        ArtQuantError: the directory holds replies, and their run was made from something else or has no record.
    """
    store = run / STORE_FILE
    files = [store.with_name(store.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
    for path in files:
        refuse_link(path)  # SQLite would follow a link and write to its target
    before = RunRecord.read(run)
    if store.exists():
        with RunStore(store) as opened:
            has_work = opened.has_lasting_work()
        if has_work and before is None:
            raise ArtQuantError(f"'{run}' has a {STORE_FILE} and no {RECORD_FILE}; give another --out")
        if has_work and before is not None:
            remedy = "put it back, or pass another --out"
            refuse_changes(run, before.identity, planned.record.identity, remedy=remedy)
            planned.record.write(run)  # the data's folder, the limits and the prices may have changed
            return
        for path in files:
            path.unlink(missing_ok=True)
    planned.record.write(run)
    with RunStore(store) as made:
        made.fill(planned.items())


@dataclass
class _RunProcess:
    """One process's work on a run: it opens the endpoints, listens for signals and sends requests, live or in batches.

    Fields that are not listed here are the arguments of `generate` with the same names.

    Args:
        store: the run directory's store, opened for writing.
        keys: the API key of each side; None for an endpoint that wants no key.
        interrupted: whether the user has asked to stop.
    """

    planned: RadPlan
    store: RunStore
    run: Path
    keys: dict[Side, str | None] = field(repr=False)
    splits: Sequence[str] | None
    limit: int | None
    max_cost: float | None
    batch: bool
    show: bool
    say: Callable[[str], None]
    interrupted: bool = False

    async def work(self) -> RadSummary:
        """Work until every painting is accepted or has failed, or until the run has to stop.

        Raises:
            ArtQuantError: an endpoint does not answer, or the store cannot be written.
            CancelledError: the user asked to stop twice.
        """
        stop = asyncio.Event()
        config = self.planned.config
        sections: dict[Side, EndpointSection] = {"generator": config.generator, "judge": config.judge}
        endpoints = {
            side: Endpoint(side, section, self.keys[side], self.store.reply_form(side))
            for side, section in sections.items()
        }
        try:
            for endpoint in endpoints.values():
                await endpoint.check()
            with self._stop_on_signals(stop):
                return await self._describe_paintings(endpoints, stop)
        finally:
            for endpoint in endpoints.values():
                await endpoint.close()

    async def _describe_paintings(self, endpoints: dict[Side, Endpoint], stop: asyncio.Event) -> RadSummary:
        """Describe the paintings, live or in batches, and return the summary that the command prints."""
        store = self.store
        budget = Budget(self.max_cost, store.cost())
        usable = {side: UsableReplies(side, self.planned.config.give_up_after) for side in endpoints}
        for part in store.open_parts():
            budget.hold(part.reserved)
        positions = store.positions(self.splits, self.limit)
        meter = RadMeter(len(positions) + sum(part.items for part in store.open_parts()), store.counts()["refining"],
                      budget.spent, self.show)  # fmt: skip
        try:
            with (
                Pictures(self.planned.data.image_root, self.planned.config.images) as pictures,
                RunStore(store.path, readonly=True) as reader,
            ):

                async def live(positions: Sequence[int], sides: Sequence[Side]) -> None:
                    chosen: dict[Side, Endpoint] = {side: endpoints[side] for side in sides}
                    async with StoreWriter(store) as writer:
                        engine = LiveEngine(
                            self.planned.steps, reader, writer, pictures, chosen, budget, meter, usable, stop,
                            self.planned.config.give_up_after,
                        )  # fmt: skip
                        await engine.run(positions)

                if self.batch:
                    from artquant_plugin.train.rad.batch import Batches  # imports openai, which takes a second

                    batches = Batches(
                        self.planned.steps, store, self.run / "batches", pictures, endpoints, budget, meter, usable,
                        stop, live, self.say,
                    )  # fmt: skip
                    await batches.run(self.splits, self.limit)
                else:
                    await live(positions, ("generator", "judge"))
        finally:
            seconds = meter.close()
            for side, endpoint in endpoints.items():
                if endpoint.form_known and endpoint.section.structured == "auto":
                    store.keep_reply_form(side, endpoint.form)
        found = summary(store)
        found.finished, found.requests, found.seconds = meter.finished.total(), meter.requests, seconds
        found.left = len(store.positions(self.splits, self.limit)) + sum(p.items for p in store.open_parts())
        found.over_budget, found.interrupted = budget.exhausted and found.left > 0, self.interrupted
        return found

    @contextmanager
    def _stop_on_signals(self, stop: asyncio.Event) -> Iterator[None]:
        """While this context lasts, the first Ctrl-C or SIGTERM sets `stop`, and the second one cancels the work."""
        # Python handles signals in the main thread alone. On Windows asyncio has no handlers, and Ctrl-C ends the run.
        if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def on_signal() -> None:
            if self.interrupted:
                task.cancel()
                return
            self.interrupted = True
            self.say("finishing what is in flight; once more to end at once")
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
