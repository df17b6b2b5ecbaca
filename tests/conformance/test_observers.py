"""In which order observers are told."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from client_resolver import Observer
from tests.conformance.clients import Client
from tests.conformance.servers import Backend, Balancer
from tests.conformance.test_balancing import ANY_KIND


class Notes(Observer):
    """Keeps the names of all methods that are called."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Observer) and not name.startswith("_"):
            return lambda *args, **kwargs: self.told.append(name)
        return super().__getattribute__(name)


class Overriding(Observer):
    """The same by methods of its own, which alone are called for RPCs and attempts."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def channel_started(self, *args: Any) -> None:
        self.told.append("channel_started")

    def channel_closed(self, *args: Any) -> None:
        self.told.append("channel_closed")

    def rpc_started(self, *args: Any) -> None:
        self.told.append("rpc_started")

    def attempt_started(self, *args: Any) -> None:
        self.told.append("attempt_started")


@pytest.mark.parametrize("by_balancer", [False, True])
@pytest.mark.parametrize(("kind", "method", "message"), ANY_KIND)
async def test_the_start_of_a_channel_comes_first_and_its_end_last(
    kind: str,
    method: str,
    message: Any,
    by_balancer: bool,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    server = backend()
    balancer.say([server.address])
    notes, overriding = Notes(), Overriding()
    client = connect(
        balancer if by_balancer else f"static:///{server.address}", observers=[notes, overriding]
    )
    await client.collect(kind, method, message, timeout=20)
    await client.close()
    for one in (notes, overriding):
        assert one.told[0] == "channel_started"
        assert one.told[-1] == "channel_closed"
        assert one.told.count("channel_started") == 1
    assert "list_changed" in notes.told
    assert overriding.told[1:3] == ["rpc_started", "attempt_started"]


async def test_a_blocking_rpc_is_told_of_after_the_start_of_its_channel(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    overriding = Overriding()
    client = connect(f"static:///{backend().address}", observers=[overriding])
    await client.unary(timeout=20)
    assert overriding.told == ["channel_started", "rpc_started", "attempt_started"]


async def test_a_second_threads_rpc_is_told_of_after_the_start_of_its_channel(
    shell: str, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    if shell == "aio":
        pytest.skip("an aio channel has one thread")
    entered, second, go_on = threading.Event(), threading.Event(), threading.Event()

    class Slow(Overriding):
        def channel_started(self, *args: Any) -> None:
            entered.set()
            go_on.wait(20)
            super().channel_started()

    slow = Slow()
    client = connect(f"static:///{backend().address}", observers=[slow])
    first = asyncio.create_task(client.unary(timeout=20))
    await asyncio.to_thread(entered.wait, 20)

    def call() -> None:
        second.set()
        client.start("unary_unary", "Unary", b"x", timeout=20).call.result()

    other = asyncio.create_task(asyncio.to_thread(call))
    await asyncio.to_thread(second.wait, 20)
    go_on.set()
    await asyncio.gather(first, other)
    assert slow.told[0] == "channel_started"
    assert slow.told.count("channel_started") == 1


async def test_an_observer_may_use_the_channel_that_it_is_told_of(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    class Using(Overriding):
        def channel_started(self, *args: Any) -> None:
            super().channel_started()
            client.channel.snapshot()
            client.channel.resolve_now()

    using = Using()
    client = connect(f"static:///{backend().address}", observers=[using])
    assert await client.unary(timeout=20) == b"x"
    assert using.told.count("channel_started") == 1
