import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from client_resolver.aio.requests import Reader, Requests


async def all_of(reader: Reader) -> list[bytes]:
    return [request async for request in reader]


async def test_an_attempt_gets_every_request_serialized() -> None:
    requests = Requests([1, 2, 3], lambda number: bytes([number]))
    assert await all_of(requests.attempt()) == [b"\1", b"\2", b"\3"]


async def test_the_first_request_is_kept_for_another_attempt() -> None:
    requests = Requests([b"1", b"2"])
    first = requests.attempt()
    assert await anext(first) == b"1"
    assert requests.repeatable
    assert await all_of(requests.attempt()) == [b"1", b"2"]
    assert not requests.repeatable


async def test_what_the_limit_has_room_for_is_kept_for_another_attempt() -> None:
    requests = Requests([b"12", b"34"], limit=10)
    assert await all_of(requests.attempt()) == [b"12", b"34"]
    assert requests.repeatable
    assert await all_of(requests.attempt()) == [b"12", b"34"]


async def test_what_is_too_much_is_told_and_not_kept() -> None:
    told: list[bool] = []
    requests = Requests([b"123", b"456", b"789"], limit=5)
    requests.filled = lambda: told.append(True)
    reader = requests.attempt()
    await anext(reader)
    assert told == []
    await anext(reader)
    assert told == [True]
    assert not requests.repeatable
    assert await all_of(reader) == [b"789"]


async def test_attempts_beside_each_other_get_the_same_requests() -> None:
    requests = Requests([b"1", b"2"], limit=10, shielded=True)
    readers = [requests.attempt(beside=True) for _ in range(3)]
    assert await asyncio.gather(*map(all_of, readers)) == [[b"1", b"2"]] * 3


async def test_an_attempt_that_is_cancelled_leaves_the_source_to_the_others() -> None:
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    waiting = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        waiting.set()
        while (item := await queue.get()) is not None:
            yield item

    requests = Requests(source(), limit=10, shielded=True)
    loser = asyncio.create_task(all_of(requests.attempt(beside=True)))
    await waiting.wait()
    winner = asyncio.create_task(all_of(requests.attempt(beside=True)))
    loser.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loser
    for item in (b"1", b"2", None):
        queue.put_nowait(item)
    assert await winner == [b"1", b"2"]


async def test_an_attempt_that_waits_for_the_source_leaves_what_it_gets_to_the_next() -> None:
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    waiting = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"1"
        waiting.set()
        while (item := await queue.get()) is not None:
            yield item

    requests = Requests(source())
    first = requests.attempt()
    assert await anext(first) == b"1"
    reader = asyncio.create_task(all_of(first))
    await waiting.wait()
    second = requests.attempt()
    for item in (b"2", b"3", None):
        queue.put_nowait(item)
    assert await all_of(second) == [b"1", b"2", b"3"]
    assert await reader == []


async def test_a_write_waits_until_an_attempt_has_taken_the_request() -> None:
    requests: Requests[bytes] = Requests(None)
    writing = asyncio.create_task(requests.write(b"1"))
    await asyncio.sleep(0)
    assert not writing.done()
    reader = requests.attempt()
    assert await anext(reader) == b"1"
    await writing
    requests.end()
    assert await all_of(reader) == []


async def test_a_write_ends_with_the_rpc() -> None:
    requests: Requests[bytes] = Requests(None)
    writing = asyncio.create_task(requests.write(b"1"))
    await asyncio.sleep(0)
    requests.close()
    await asyncio.wait_for(writing, 20)


async def test_a_source_that_fails_is_never_asked_again() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"1"
        raise LookupError

    requests = Requests(source(), limit=10)
    with pytest.raises(LookupError):
        await all_of(requests.attempt())
    assert requests.broken
    assert not requests.repeatable


async def test_closed_requests_are_freed_without_the_collector() -> None:
    # An RPC refers to its requests, and they to it and to their readers.
    class Rpc:
        def __init__(self) -> None:
            self.requests = Requests([b"a"])
            self.requests.filled = self.filled
            self.reader = self.requests.attempt()

        def filled(self) -> None:
            return

    rpc = Rpc()
    known = weakref.ref(rpc), weakref.ref(rpc.requests)
    rpc.requests.close()
    gc.disable()
    try:
        del rpc
        assert [one() for one in known] == [None, None]
    finally:
        gc.enable()
