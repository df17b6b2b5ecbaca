import asyncio
from random import Random

import pytest

from client_resolver.aio.fallback import Fallback
from client_resolver.aio.poller import Poller
from client_resolver.core.model import ServerList
from client_resolver.core.polling import Polling

BOUND = 20.0
NEVER = 3600.0


class Looked:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    def found(self, answer: ServerList) -> None:
        self.event.set()

    def failed(self, why: str) -> None:
        raise AssertionError(why)


def started(looked: Looked, after: float) -> tuple[Fallback, asyncio.Task[None]]:
    async def look() -> ServerList:
        return ServerList(())

    subject = Fallback(Poller(look, Polling(NEVER, Random(1)), looked), after)
    return subject, asyncio.create_task(subject.run())


@pytest.mark.parametrize(("after", "wanted"), [(0.01, False), (NEVER, True)])
async def test_a_fallback_is_looked_up_when_it_is_wanted_or_after_a_while(
    after: float, wanted: bool
) -> None:
    looked = Looked()
    subject, task = started(looked, after)
    if wanted:
        subject.wanted()
    await asyncio.wait_for(looked.event.wait(), BOUND)
    subject.over()
    await asyncio.wait_for(task, BOUND)


async def test_a_fallback_that_is_never_wanted_is_never_looked_up() -> None:
    looked = Looked()
    subject, task = started(looked, NEVER)
    subject.over()
    subject.wanted()
    await asyncio.wait_for(task, BOUND)
    assert not looked.event.is_set()


async def test_a_task_that_is_cancelled_as_its_fallback_becomes_wanted_ends() -> None:
    subject, task = started(Looked(), NEVER)
    await asyncio.sleep(0)
    subject.wanted()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=BOUND)
    assert done == {task}
    assert task.cancelled()
