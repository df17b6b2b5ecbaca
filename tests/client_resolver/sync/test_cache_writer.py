import threading
from pathlib import Path
from time import monotonic

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.resolver.cache_file import SnapshotFile
from client_resolver.sync.cache_writer import Keeper

BOUND = 20.0
NEVER = 3600.0


class Disk(SnapshotFile):
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


def started(keeper: Keeper) -> threading.Thread:
    thread = threading.Thread(target=keeper.run)
    thread.start()
    return thread


def ended(keeper: Keeper, thread: threading.Thread) -> None:
    keeper.stop()
    thread.join(BOUND)
    assert not thread.is_alive()


def test_the_first_list_is_written_at_once_and_the_last_at_the_end() -> None:
    disk = Disk()
    keeper = Keeper(disk, NEVER)
    thread = started(keeper)
    keeper.keep(listed(1))
    assert disk.first.wait(BOUND)
    for port in range(2, 10):
        keeper.keep(listed(port))
    ended(keeper, thread)
    assert disk.written == [listed(1), listed(9)]


def test_a_list_that_comes_again_is_not_written_again() -> None:
    disk = Disk()
    keeper = Keeper(disk, NEVER)
    thread = started(keeper)
    keeper.keep(listed(1))
    assert disk.first.wait(BOUND)
    keeper.keep(listed(1))
    ended(keeper, thread)
    assert disk.written == [listed(1)]


def test_what_is_no_list_to_start_with_is_not_written() -> None:
    disk = Disk()
    keeper = Keeper(disk, NEVER)
    keeper.keep(None)
    keeper.keep(ServerList(()))
    ended(keeper, started(keeper))
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
            keeper.keep(listed(len(times) + 1))

    keeper = Keeper(Clocked(), 0.05)
    thread = started(keeper)
    keeper.keep(listed(1))
    assert third.wait(BOUND)
    ended(keeper, thread)
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.05
