import asyncio
import functools
import threading
from collections.abc import Awaitable
from random import Random

import pytest

from client_resolver.aio.poller import Poller, look_of
from client_resolver.config.target import CustomTarget, parse_target
from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.core.polling import Polling
from client_resolver.resolver import Answer, Resolve

BOUND = 20.0
NEVER = 3600.0
ANSWER = ServerList((Endpoint(parse_address("10.0.0.1:80")),))


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[ServerList | str] = []
        self._more = asyncio.Event()

    def found(self, answer: ServerList) -> None:
        self.failed(answer)

    def failed(self, why: ServerList | str) -> None:
        self.told.append(why)
        self._more.set()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(BOUND):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()


async def test_answers_and_errors_are_told_until_it_is_stopped() -> None:
    outcomes: list[ServerList | Exception] = [OSError("no route"), ANSWER, ValueError()]

    async def look() -> ServerList:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    heard = Heard()
    poller = Poller(look, Polling(0.001, Random(1)), heard)
    task = asyncio.create_task(poller.run())
    await heard.wait(3)
    poller.stop()
    await asyncio.wait_for(task, BOUND)
    # What follows is that the list of outcomes is empty.
    assert heard.told[:3] == ["OSError: no route", ANSWER, "ValueError"]


async def test_what_is_found_after_the_stop_is_told_to_nobody() -> None:
    looking, gate = asyncio.Event(), asyncio.Event()

    async def look() -> ServerList:
        looking.set()
        await gate.wait()
        return ANSWER

    heard = Heard()
    poller = Poller(look, Polling(NEVER, Random(1)), heard)
    task = asyncio.create_task(poller.run())
    await asyncio.wait_for(looking.wait(), BOUND)
    poller.stop()
    gate.set()
    await asyncio.wait_for(task, BOUND)
    assert heard.told == []


async def test_two_looks_are_never_under_way_at_once() -> None:
    under_way: list[int] = []
    most = 0

    async def look() -> ServerList:
        nonlocal most
        under_way.append(1)
        most = max(most, len(under_way))
        poller.resolve_now()
        await asyncio.sleep(0)
        under_way.pop()
        return ANSWER

    heard = Heard()
    poller = Poller(look, Polling(NEVER, Random(1)), heard)
    task = asyncio.create_task(poller.run())
    await heard.wait(20)
    poller.stop()
    await asyncio.wait_for(task, BOUND)
    assert most == 1


async def test_a_fixed_list_is_its_own_answer() -> None:
    target = parse_target("static:///10.0.0.1:80", {})
    assert await look_of(target, {})() == ANSWER  # type: ignore[arg-type]


def _plain(target: str) -> Answer:
    assert threading.current_thread() is not threading.main_thread()
    return ["10.0.0.1:80"]


def _returns_a_coroutine(target: str) -> Awaitable[Answer]:
    return _coroutine(target)


async def _coroutine(target: str) -> Answer:
    assert threading.current_thread() is threading.main_thread()
    return ["10.0.0.1:80"]


@pytest.mark.parametrize(
    "resolve", [_plain, _coroutine, functools.partial(_coroutine), _returns_a_coroutine]
)
async def test_a_resolver_may_be_a_function_or_a_coroutine_function(resolve: Resolve) -> None:
    target = CustomTarget("consul:///web", "consul")
    assert await look_of(target, {"consul": resolve})() == ANSWER
