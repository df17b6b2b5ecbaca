import asyncio
from pathlib import Path

from client_resolver.aio.cache_writer import CacheWriter
from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.resolver.cache_file import CacheFile

BOUND = 20.0
NEVER = 3600.0


class Disk(CacheFile):
    """Keeps what is written, and lets a test wait for it."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), "t")
        self.written: list[ServerList] = []
        self.first = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def save(self, current: ServerList) -> None:
        self.written.append(current)
        self._loop.call_soon_threadsafe(self.first.set)


def listed(port: int) -> ServerList:
    return ServerList((Endpoint(parse_address(f"10.0.0.1:{port}")),))


async def ended(writer: CacheWriter, task: asyncio.Task[None]) -> None:
    writer.stop()
    await asyncio.wait_for(task, BOUND)


async def test_the_first_list_is_written_at_once_and_the_last_at_the_end() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    task = asyncio.create_task(writer.run())
    writer.keep(listed(1))
    await asyncio.wait_for(disk.first.wait(), BOUND)
    for port in range(2, 10):
        writer.keep(listed(port))
    await ended(writer, task)
    assert disk.written == [listed(1), listed(9)]


async def test_a_list_that_comes_again_is_not_written_again() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    task = asyncio.create_task(writer.run())
    writer.keep(listed(1))
    await asyncio.wait_for(disk.first.wait(), BOUND)
    writer.keep(listed(1))
    await ended(writer, task)
    assert disk.written == [listed(1)]


async def test_what_is_no_list_to_start_with_is_not_written() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    writer.keep(None)
    writer.keep(ServerList(()))
    await ended(writer, asyncio.create_task(writer.run()))
    assert disk.written == []


async def test_lists_are_written_no_more_often_than_the_interval() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    third = asyncio.Event()

    def take_in() -> None:
        times.append(loop.time())
        if len(times) == 3:
            third.set()
        # One more list is there before the interval is over.
        writer.keep(listed(len(times) + 1))

    class Clocked(Disk):
        def save(self, current: ServerList) -> None:
            loop.call_soon_threadsafe(take_in)

    writer = CacheWriter(Clocked(), 0.05)
    task = asyncio.create_task(writer.run())
    writer.keep(listed(1))
    await asyncio.wait_for(third.wait(), BOUND)
    await ended(writer, task)
    # The clock of an event loop is read once a turn.
    assert times[2] - times[0] >= 0.09
