"""The limits of a run: requests and tokens per minute, money, and the number of unusable replies in a row.

`aiolimiter` was measured and not taken; docs/rad.md, "Libraries", says why.
"""

import asyncio

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.store_rows import Side


class StopRequested(Exception):
    """No further request may be made, while requests in flight are still finished."""


class RepliesUnusable(ArtQuantError):
    """The run stops, since too many replies of one side in a row cannot be used."""


class UsableReplies:
    """Watches whether a side's replies can be used, so that a run does not pay for thousands that cannot.

    Args:
        side: the side whose replies are watched, ``generator`` or ``judge``.
        most: the run stops after so many unusable replies in a row; 1 or more.

    Attributes:
        seen: whether this process has had a usable reply from this side.
    """

    def __init__(self, side: Side, most: int) -> None:
        self.seen = False
        self._side = side
        self._most = most
        self._in_a_row = 0
        self._last = ""

    def count(self, outcome: str, detail: str) -> None:
        """Count a reply once it is in the store.

        A malformed reply always counts as unusable. A refusal, or a failed request of the Batch API, does so only
        until the side has given its first usable reply; after that, its cause is taken to be the painting.

        Args:
            outcome: ``ok``, or the reason why the reply cannot be used. ``leaked_score`` counts as usable here.
            detail: the text of the reply, which the error quotes if the run stops.
        """
        if outcome == "malformed" or (outcome not in ("ok", "leaked_score") and not self.seen):
            self._in_a_row += 1
            self._last = f"{outcome}: {one_line(detail, 200)}"
        else:
            self.seen, self._in_a_row = True, 0

    def check(self) -> None:
        """Check that the run may go on.

        Raises:
            RepliesUnusable: too many replies in a row could not be used.
        """
        if self._in_a_row >= self._most:
            raise RepliesUnusable(
                f"{self._in_a_row} replies of the {self._side} in a row could not be used; the last one was "
                f"{self._last}; change {self._side}.model, {self._side}.parameters or the prompts, and begin a run in "
                "another --out"
            )


class Pace:
    """Spaces the requests to one endpoint evenly, so that no minute has more requests or tokens than the caps allow.

    Args:
        section: a side's section of the configuration, with its caps; without caps no request waits.
        stop: an event that is set when the run is to end.
    """

    def __init__(self, section: EndpointSection, stop: asyncio.Event) -> None:
        self._per_request = 60 / section.requests_per_minute if section.requests_per_minute else 0.0
        self._per_token = 60 / section.tokens_per_minute if section.tokens_per_minute else 0.0
        self._stop = stop
        self._next_request = self._next_token = 0.0  # in seconds of the event loop's clock

    async def wait(self, tokens: int) -> None:
        """Wait until the caps allow a request.

        Args:
            tokens: the most tokens that the request and its reply can have; `count` corrects this later.

        Raises:
            StopRequested: the run is to end, and this became known during the wait.
        """
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_request, self._next_token)
        self._next_request = max(now, self._next_request) + self._per_request
        self._next_token = max(now, self._next_token) + tokens * self._per_token
        if turn > now:
            try:
                await asyncio.wait_for(self._stop.wait(), turn - now)
            except TimeoutError:
                return
            raise StopRequested

    def count(self, expected: int, used: int) -> None:
        """Correct the number of tokens that `wait` assumed, so that later requests wait less.

        Args:
            expected: the number of tokens that `wait` was given.
            used: the tokens that the endpoint counted.
        """
        self._next_token -= (expected - used) * self._per_token


class Budget:
    """The money of a run: what has been spent, and what is reserved for requests in flight.

    Args:
        limit: the most that may be spent, in the configuration's currency; None for no limit.
        spent: what earlier processes of the same run have spent.

    Attributes:
        exhausted: whether a request was not made because its worst case would pass the limit.
    """

    def __init__(self, limit: float | None, spent: float) -> None:
        self.limit = limit
        self.spent = spent
        self.exhausted = False
        self._reserved = 0.0
        self._in_flight = 0
        self._settled = asyncio.Event()

    async def reserve(self, worst: float) -> None:
        """Reserve money for a request. If too little is left, wait for requests in flight to cost less than reserved.

        Args:
            worst: the most that the request can cost.

        Raises:
            StopRequested: too little is left, and no request is in flight.
        """
        while not self.take(worst):
            if not self._in_flight:
                self.exhausted = True
                raise StopRequested
            self._settled.clear()
            await self._settled.wait()
        self._in_flight += 1

    def take(self, worst: float) -> bool:
        """Reserve money without waiting.

        Args:
            worst: the most that the requests can cost.

        Returns:
            Whether enough was left; if not, nothing is reserved.
        """
        if self.limit is not None and self.spent + self._reserved + worst > self.limit:
            return False
        self._reserved += worst
        return True

    def settle(self, worst: float, actual: float) -> None:
        """Count what a request has cost, and free what `reserve` had reserved for it.

        Args:
            worst: the sum that was reserved.
            actual: what the request and its reply cost, 0 or more.
        """
        self._in_flight -= 1
        self.spent += actual
        self.give_back(worst)

    def hold(self, worst: float) -> None:
        """Reserve money for a batch that is under way already, even if the limit is passed by it.

        Args:
            worst: the most that the batch can cost.
        """
        self._reserved += worst

    def give_back(self, worst: float) -> None:
        """Free money that was reserved.

        Args:
            worst: the sum that was reserved.
        """
        self._reserved -= worst
        self._settled.set()


def check_budget(limit: float | None, sections: dict[str, EndpointSection]) -> None:
    """Check that a limit on the cost can be kept, which needs the worst case of each request.

    Args:
        limit: the most that may be spent; None for no limit, which needs no check.
        sections: the sides' sections of the configuration, by side.

    Raises:
        ArtQuantError: the limit is not positive, no side has a price, or a reply's tokens have no limit.
    """
    if limit is None:
        return
    if not limit > 0:
        raise ArtQuantError(f"--max-cost {limit:g} is not positive; leave it out for no limit")
    if not any(section.price.input or section.price.output for section in sections.values()):
        raise ArtQuantError("--max-cost needs prices; set generator.price and judge.price (per million tokens)")
    for name, section in sections.items():
        if section.price.output and section.reply_cap is None:
            raise ArtQuantError(
                f"--max-cost needs a limit on a reply's tokens; set {name}.parameters.max_tokens (or "
                "max_completion_tokens)"
            )
