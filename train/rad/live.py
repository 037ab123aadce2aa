"""The live engine sends requests one by one and waits for their replies; it works on many paintings at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.openai_client import EndpointDown, RequestFailed, RequestUnanswered
from artquant_plugin.train.rad.endpoint import MAY_BE_PAID, Endpoint
from artquant_plugin.train.rad.limits import Budget, Pace, StopRequested, UsableReplies
from artquant_plugin.train.rad.meter import RadMeter
from artquant_plugin.train.rad.pictures import Pictures
from artquant_plugin.train.rad.replies import Reply
from artquant_plugin.train.rad.steps import Request, Steps
from artquant_plugin.train.rad.store import ROWS_AT_ONCE, RunStore, StoreWriter
from artquant_plugin.train.rad.store_rows import Change, Exchange, ReplyForm, Side, WorkItem

# Until each side has given a usable reply, up to so many paintings are worked on one after the other. A mistake that
# spoils every request then costs a few requests only.
ONE_BY_ONE = 10
UNANSWERED_AT_START = 3  # the run ends after so many unanswered requests to an endpoint that has never answered
ENCODED_AHEAD = 8  # so many pictures are encoded in advance while all of the generator's slots are taken
DRAW_SECONDS = 0.5  # time between two updates of the progress bar


@dataclass(frozen=True, slots=True)
class _WithheldFailure:
    """A painting's failure that is not written yet, because the endpoint may be down.

    When the endpoint answers another request, the painting fails; when it does not, the run ends and the painting
    stays unfinished.

    Args:
        change: the painting's new state, failed, which is written if the endpoint turns out to work.
        item: the painting as it was when the request was made.
        error: why the request was not answered or was refused.
    """

    change: Change
    item: WorkItem
    error: RequestFailed


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an endpoint answered to a request, with its cost.

    Args:
        request: the request as it was sent last, in the form that the endpoint answered.
        reply: what the model wrote, or why there is no reply.
        cost_and_times: the fields ``cost``, ``seconds`` and ``at`` of the `Exchange` that records it.
    """

    request: Request
    reply: Reply | RequestFailed
    cost_and_times: dict[str, float]


@dataclass
class LiveEngine:
    """Brings paintings through generator and judge, as many at once as the endpoints have slots.

    Args:
        steps: makes requests and reads replies.
        store: paintings are read from it; the writer has a connection of its own.
        writer: writes exchanges and changes, and returns once they are on the disk.
        pictures: encodes the pictures for the generator.
        endpoints: the sides that are asked live; a painting that needs the other side next is left as it is.
        budget: lets a request pass when its worst case still fits into the limit on the cost.
        meter: counts exchanges and changes, and draws the bar.
        usable: watches each side's replies, and ends a run in which none can be used.
        stop: an event that is set when no further request may be made; the engine sets it as well.
        give_up_after: number of requests in a row without an answer that end the run, from 1.
    """

    steps: Steps
    store: RunStore
    writer: StoreWriter
    pictures: Pictures
    endpoints: Mapping[Side, Endpoint]
    budget: Budget
    meter: RadMeter
    usable: Mapping[Side, UsableReplies]
    stop: asyncio.Event
    give_up_after: int
    _paces: dict[Side, Pace] = field(init=False)
    _withheld: dict[Side, list[_WithheldFailure]] = field(init=False)
    _fatal_error: ArtQuantError | MachineError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._paces = {side: Pace(endpoint.section, self.stop) for side, endpoint in self.endpoints.items()}
        self._withheld = {side: [] for side in self.endpoints}
        slots = self.endpoints["generator"].section.concurrency if "generator" in self.endpoints else 0
        self._encoding = asyncio.Semaphore(slots + ENCODED_AHEAD)

    async def run(self, positions: Sequence[int]) -> None:
        """Work on paintings until each is accepted, has failed, or needs a side that is not asked live.

        Args:
            positions: the paintings' positions in the store, in the order in which work on them begins.

        Raises:
            ArtQuantError: a side does not answer or refuses everything, or the store cannot be written; requests in
                flight have been finished by then.
            MachineError: this machine cannot go on: a full disk, too many open files.
        """
        items = self._items(positions)
        async with _redrawing_bar(self.meter):
            for _ in range(ONE_BY_ONE):
                if all(self.usable[side].seen for side in self.endpoints) or self.stop.is_set():
                    break
                await self._bring_to_end(items, one=True)
            async with asyncio.TaskGroup() as group:
                for _ in range(2 * sum(endpoint.section.concurrency for endpoint in self.endpoints.values())):
                    group.create_task(self._bring_to_end(items))
            for side, endpoint in self.endpoints.items():
                if endpoint.answered and not self.stop.is_set():
                    await self._write_withheld(side)
                elif self._withheld[side] and not endpoint.answered:
                    self._end_run(endpoint.down_after(self._withheld[side][-1].error))
        if self._fatal_error is not None:
            raise self._fatal_error

    def _items(self, positions: Sequence[int]) -> Iterator[WorkItem]:
        for start in range(0, len(positions), ROWS_AT_ONCE):
            yield from self.store.items(positions[start : start + ROWS_AT_ONCE])

    async def _bring_to_end(self, items: Iterator[WorkItem], *, one: bool = False) -> None:
        """Take one painting after the other through all of its rounds; return after the first one if `one`."""
        try:
            for item in items:
                current: WorkItem | None = item
                while current is not None and current.side in self.endpoints:
                    current = await self._advance(current)
                if one or self.stop.is_set():
                    return
        except StopRequested:
            return
        except (ArtQuantError, MachineError) as error:  # a full disk, a template that one painting cannot fill
            self._end_run(error)

    async def _advance(self, item: WorkItem) -> WorkItem | None:
        """Make a painting's next request; return the painting as it is then, or None when no request follows.

        Raises:
            StopRequested: no further request may be made.
        """
        if item.side == "judge":
            change = await self._ask_and_write(item, None)
        else:
            async with self._encoding:
                if self.stop.is_set():
                    raise StopRequested
                try:
                    picture = await self.pictures.data_uri(item)
                except ArtQuantError as error:
                    await self._write([], self.steps.unreadable(item, error), item)
                    return None
                change = await self._ask_and_write(item, picture)
        return after(item, change) if change is not None and change.state == "refining" else None

    async def _ask_and_write(self, item: WorkItem, picture: str | None) -> Change | None:
        """Send one request, write its exchange and the painting's change; return None when the failure is withheld."""
        side = item.side
        endpoint = self.endpoints[side]

        def build(form: ReplyForm) -> Request:
            return self.steps.request(item, form=form, picture=picture)

        async with endpoint.slots:
            if self.stop.is_set():
                raise StopRequested
            answer = await self._send_within_limits(endpoint, build(endpoint.form), build)
        request = answer.request
        if isinstance(answer.reply, Reply):
            outcome, change = self.steps.apply(item, answer.reply)
            await self._write(
                [self.steps.exchange(item, request, outcome, answer.reply, **answer.cost_and_times)], change, item
            )
            self.usable[side].count(outcome, answer.reply.kept or "an empty reply")
            self.usable[side].check()
            if self._withheld[side]:
                await self._write_withheld(side)
            return change
        error = answer.reply
        message = Reply(text=error.detail)
        exchange = self.steps.exchange(item, request, error.reason, message, **answer.cost_and_times)
        failed = self.steps.failed(item, error.reason, error.detail)
        if endpoint.answered and not isinstance(error, RequestUnanswered):
            await self._write([exchange], failed, item)
            return failed
        await self._write([exchange], None, item)
        self._withhold(endpoint, failed, item, error)
        return None

    async def _send_within_limits(
        self, endpoint: Endpoint, request: Request, build: Callable[[ReplyForm], Request]
    ) -> _Answer:
        """Wait until the caps and the budget allow the request, send it, and count what it cost."""
        pace, worst = self._paces[endpoint.side], self.steps.worst_case(request)
        await pace.wait(request.tokens)
        try:
            await self.budget.reserve(worst)
        except StopRequested:
            self.stop.set()
            raise
        started = time.monotonic()
        cost, used = 0.0, 0
        reply: Reply | RequestFailed
        try:
            request, reply = await endpoint.ask(request, build)
            used = (reply.prompt_tokens or 0) + (reply.completion_tokens or 0) or request.tokens
            cost = worst  # for an endpoint that does not count tokens
            if reply.prompt_tokens is not None and reply.completion_tokens is not None:
                cost = self.steps.cost(request.side, reply.prompt_tokens, reply.completion_tokens)
        except EndpointDown as error:
            self._end_run(error)
            raise StopRequested from error
        except RequestFailed as error:
            reply = Reply(text=None, refusal=error.detail) if error.reason == "refused" else error
            if error.reason in MAY_BE_PAID:
                cost, used = worst, request.tokens
        finally:
            self.budget.settle(worst, cost)
            pace.count(request.tokens, used)
        self.meter.count_exchange(cost)
        return _Answer(request, reply, {"cost": cost, "seconds": time.monotonic() - started, "at": time.time()})

    def _withhold(self, endpoint: Endpoint, failed: Change, item: WorkItem, error: RequestFailed) -> None:
        """Withhold a failure that may be the endpoint's fault; `give_up_after` of them in a row end the run."""
        withheld = self._withheld[endpoint.side]
        withheld.append(_WithheldFailure(failed, item, error))
        if len(withheld) >= (
            self.give_up_after if endpoint.answered else min(UNANSWERED_AT_START, self.give_up_after)
        ):
            self._end_run(endpoint.down_after(error))

    async def _write_withheld(self, side: Side) -> None:
        """Write the withheld failures, since the endpoint has answered another request and so is not down."""
        withheld, self._withheld[side] = self._withheld[side], []
        for failure in withheld:
            await self._write([], failure.change, failure.item)

    async def _write(self, exchanges: Sequence[Exchange], change: Change | None, item: WorkItem) -> None:
        await self.writer.write(exchanges, [] if change is None else [change])
        if change is not None:
            self.meter.count_change(change, begun=item.rounds > 0)

    def _end_run(self, error: ArtQuantError | MachineError) -> None:
        """Let no further request start; `run` raises the first error once the requests in flight have ended."""
        self._fatal_error = self._fatal_error or error
        self.stop.set()


def after(item: WorkItem, change: Change) -> WorkItem:
    """Return the painting as it is after a change.

    Args:
        item: the painting as it was when its request was made.
        change: the painting's new state, which replaces the former one.
    """
    return replace(
        item, rounds=change.rounds, draft=change.draft, feedback=change.feedback, judge_tries=change.judge_tries
    )


@asynccontextmanager
async def _redrawing_bar(meter: RadMeter) -> AsyncIterator[None]:
    """Redraw the progress bar every `DRAW_SECONDS` while this context lasts, rather than at every reply."""

    async def draw() -> None:
        while True:
            meter.draw()
            await asyncio.sleep(DRAW_SECONDS)

    task = asyncio.create_task(draw())
    try:
        yield
    finally:
        task.cancel()
