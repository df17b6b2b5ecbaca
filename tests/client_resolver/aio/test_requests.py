import asyncio
from collections.abc import AsyncIterator

from client_resolver.aio.requests import Requests


async def test_an_attempt_gets_every_request() -> None:
    assert [r async for r in Requests([1, 2, 3]).attempt()] == [1, 2, 3]


async def test_the_first_request_is_kept_for_another_attempt() -> None:
    requests = Requests([1, 2])
    first = requests.attempt()
    assert await anext(first) == 1
    assert requests.repeatable
    assert [r async for r in requests.attempt()] == [1, 2]
    assert not requests.repeatable


async def test_an_attempt_that_waits_for_the_source_leaves_what_it_gets_to_the_next() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    waiting = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        waiting.set()
        while (item := await queue.get()) is not None:
            yield item

    requests = Requests(source())
    first = requests.attempt()
    assert await anext(first) == 1

    async def read() -> list[int]:
        return [r async for r in first]

    reader = asyncio.create_task(read())
    await waiting.wait()
    second = requests.attempt()
    for item in (2, 3, None):
        queue.put_nowait(item)
    assert [r async for r in second] == [1, 2, 3]
    assert await reader == []
