"""What keeps a run within its caps: requests and tokens per minute, money, and replies that cannot be used.

`aiolimiter` was measured and not taken; docs/rad.md, "Libraries", says why.
"""

import asyncio

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.store_rows import Side


class StopRequested(Exception):
    """No further request may be made; those in flight are finished."""


class RepliesUnusable(ArtQuantError):
    """The run cannot go on, since nothing that a side replies can be used."""


class UsableReplies:
    """Watches whether a side's replies can be used, so that a run does not pay for thousands that cannot.

    Args:
        side: whose replies are watched: ``generator`` or ``judge``.
        most: number of replies in a row that cannot be used, from 1, after which the run stops.

    Attributes:
        seen: whether a reply of this side could be used since the process began.
    """

    def __init__(self, side: Side, most: int) -> None:
        self.seen = False
        self._side = side
        self._most = most
        self._in_a_row = 0
        self._last = ""

    def count(self, outcome: str, detail: str) -> None:
        """Count a reply that is in the store.

        Refusals, and requests of the Batch API that failed, count only until a reply could be used: after that, they
        are about the paintings.

        Args:
            outcome: ``ok``, or the reason why the reply cannot be used. A description that leaks the score can be.
            detail: what the side wrote, which is told where the run stops.
        """
        if outcome == "malformed" or (outcome not in ("ok", "leaked_score") and not self.seen):
            self._in_a_row += 1
            self._last = f"{outcome}: {one_line(detail, 200)}"
        else:
            self.seen, self._in_a_row = True, 0

    def check(self) -> None:
        """See that the run may go on.

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
    """Spaces the requests to one endpoint evenly, so that no minute has more requests or tokens than its caps.

    Args:
        section: a side's section of the configuration, with its caps; without caps nothing waits.
        stop: an event that is set when the run is to end.
    """

    def __init__(self, section: EndpointSection, stop: asyncio.Event) -> None:
        self._per_request = 60 / section.requests_per_minute if section.requests_per_minute else 0.0
        self._per_token = 60 / section.tokens_per_minute if section.tokens_per_minute else 0.0
        self._stop = stop
        self._next_request = self._next_token = 0.0  # seconds of the loop's clock

    async def wait(self, tokens: int) -> None:
        """Wait for a request's turn.

        Args:
            tokens: the most tokens that the request and its reply can have; `count` corrects them later.

        Raises:
            StopRequested: the run ends meanwhile.
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
        """Give back the time of tokens that were not used.

        Args:
            expected: the tokens that `wait` was told.
            used: the tokens that the endpoint counted.
        """
        self._next_token -= (expected - used) * self._per_token


class Budget:
    """The money of a run: what is spent, and what requests in flight may still cost.

    Args:
        limit: the most that may be spent, in the configuration's currency; None for no limit.
        spent: what earlier runs of the same store spent.
    """

    def __init__(self, limit: float | None, spent: float) -> None:
        self.limit = limit
        self.spent = spent
        self.exhausted = False
        self._reserved = 0.0
        self._in_flight = 0
        self._settled = asyncio.Event()

    async def reserve(self, worst: float) -> None:
        """Set money aside for a request; where there is not enough, wait until requests in flight turn out cheaper.

        Args:
            worst: the most that the request can cost.

        Raises:
            StopRequested: there is not enough left, and no request is in flight.
        """
        while not self.take(worst):
            if not self._in_flight:
                self.exhausted = True
                raise StopRequested
            self._settled.clear()
            await self._settled.wait()
        self._in_flight += 1

    def take(self, worst: float) -> bool:
        """Set money aside without waiting.

        Args:
            worst: the most that the requests can cost.

        Returns:
            Whether there was enough; otherwise nothing is set aside.
        """
        if self.limit is not None and self.spent + self._reserved + worst > self.limit:
            return False
        self._reserved += worst
        return True

    def settle(self, worst: float, actual: float) -> None:
        """Count what a request cost that `reserve` let through, and free the rest of what was set aside for it.

        Args:
            worst: the sum that was reserved.
            actual: what the request and its reply cost, 0 or more.
        """
        self._in_flight -= 1
        self.spent += actual
        self.give_back(worst)

    def hold(self, worst: float) -> None:
        """Set money aside for a batch that is under way already, whether or not there is enough.

        Args:
            worst: the most that the batch can cost.
        """
        self._reserved += worst

    def give_back(self, worst: float) -> None:
        """Free money that was set aside.

        Args:
            worst: the sum that was set aside.
        """
        self._reserved -= worst
        self._settled.set()


def check_budget(limit: float | None, sections: dict[str, EndpointSection]) -> None:
    """Check that a limit on the cost can be kept: that the worst case of each request is known.

    Args:
        limit: the most that may be spent; None for no limit, which needs no check.
        sections: the sides' sections of the configuration, by side.

    Raises:
        ArtQuantError: a limit that is not positive, no price, or no limit on a reply's tokens.
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
