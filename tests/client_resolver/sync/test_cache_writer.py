import threading
from pathlib import Path
from time import monotonic

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.resolver.cache_file import CacheFile
from client_resolver.sync.cache_writer import CacheWriter

BOUND = 20.0
NEVER = 3600.0


class Disk(CacheFile):
    """Keeps what is written, and lets a test wait for it."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), "t")
        self.written: list[ServerList] = []
        self.first = threading.Event()

    def save(self, current: ServerList) -> None:
        self.written.append(current)
        self.first.set()


def listed(port: int) -> ServerList:
    return ServerList((Endpoint(parse_address(f"10.0.0.1:{port}")),))


def started(writer: CacheWriter) -> threading.Thread:
    thread = threading.Thread(target=writer.run)
    thread.start()
    return thread


def ended(writer: CacheWriter, thread: threading.Thread) -> None:
    writer.stop()
    thread.join(BOUND)
    assert not thread.is_alive()


def test_the_first_list_is_written_at_once_and_the_last_at_the_end() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    thread = started(writer)
    writer.keep(listed(1))
    assert disk.first.wait(BOUND)
    for port in range(2, 10):
        writer.keep(listed(port))
    ended(writer, thread)
    assert disk.written == [listed(1), listed(9)]


def test_a_list_that_comes_again_is_not_written_again() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    thread = started(writer)
    writer.keep(listed(1))
    assert disk.first.wait(BOUND)
    writer.keep(listed(1))
    ended(writer, thread)
    assert disk.written == [listed(1)]


def test_what_is_no_list_to_start_with_is_not_written() -> None:
    disk = Disk()
    writer = CacheWriter(disk, NEVER)
    writer.keep(None)
    writer.keep(ServerList(()))
    ended(writer, started(writer))
    assert disk.written == []


def test_lists_are_written_no_more_often_than_the_interval() -> None:
    times: list[float] = []
    third = threading.Event()

    class Clocked(Disk):
        def save(self, current: ServerList) -> None:
            times.append(monotonic())
            if len(times) == 3:
                third.set()
            # One more list is there before the interval is over.
            writer.keep(listed(len(times) + 1))

    writer = CacheWriter(Clocked(), 0.05)
    thread = started(writer)
    writer.keep(listed(1))
    assert third.wait(BOUND)
    ended(writer, thread)
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.05
