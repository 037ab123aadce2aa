"""Budget and pace, by themselves."""

import asyncio

import pytest

from artquant_plugin.train.rad.config import EndpointSection
from artquant_plugin.train.rad.limits import Budget, Pace, StopRequested

WAIT = 0.2  # seconds that are taken for "for ever"


def test_money_in_flight_is_waited_for():
    async def run():
        budget = Budget(10.0, 1.0)
        await budget.reserve(6.0)
        second = asyncio.create_task(budget.reserve(4.0))
        await asyncio.sleep(0)
        assert not second.done()
        budget.settle(6.0, 2.0)
        await asyncio.wait_for(second, WAIT)
        assert (budget.spent, budget.exhausted) == (3.0, False)

    asyncio.run(run())


def test_all_who_wait_learn_that_nothing_is_left():
    async def run():
        budget = Budget(10.0, 0.0)
        await budget.reserve(6.0)
        waiting = [asyncio.create_task(budget.reserve(5.0)) for _ in range(3)]
        await asyncio.sleep(0)
        budget.settle(6.0, 6.0)
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), WAIT)
        assert [type(one) for one in ended] == [StopRequested] * 3
        assert budget.exhausted

    asyncio.run(run())


def test_nobody_waits_for_a_batch():
    async def run():
        budget = Budget(10.0, 0.0)
        budget.hold(8.0)
        with pytest.raises(StopRequested):
            await asyncio.wait_for(budget.reserve(3.0), WAIT)
        budget.give_back(8.0)
        await asyncio.wait_for(budget.reserve(3.0), WAIT)

    asyncio.run(run())


def test_tokens_that_were_not_used_are_given_back():
    async def run():
        section = EndpointSection(base_url="http://x/v1", model="m", tokens_per_minute=60_000)  # a thousand a second
        pace, loop = Pace(section, asyncio.Event()), asyncio.get_running_loop()
        started = loop.time()
        await pace.wait(1000)
        pace.count(1000, 100)
        await pace.wait(1000)
        assert 0.1 <= loop.time() - started < 0.5

    asyncio.run(run())


def test_a_run_that_ends_does_not_wait_for_its_turn():
    async def run():
        stop = asyncio.Event()
        pace = Pace(EndpointSection(base_url="http://x/v1", model="m", requests_per_minute=1), stop)
        await pace.wait(1)
        waiting = asyncio.create_task(pace.wait(1))
        await asyncio.sleep(0)
        stop.set()
        with pytest.raises(StopRequested):
            await asyncio.wait_for(waiting, WAIT)

    asyncio.run(run())
