"""Watches that are told what has changed, and those that are told nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

import msgspec
import pytest

from client_resolver.core.delta import Delta
from client_resolver.core.model import ServerList
from client_resolver.core.watch import Watch
from lookaside.model import ServiceRecord
from tests.api.conftest import KEY, record
from tests.api.conftest import Balancer as Service
from tests.conformance.clients import Client
from tests.conformance.servers import Backend, Balancer
from tests.conformance.test_balancing import all_connected


class Received:
    """What the clients' watches have been told, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.messages: list[ServerList | Delta] = []
        self.held: ServerList | None = None

    def note(self, message: ServerList | Delta, held: ServerList | None) -> None:
        self.messages.append(message)
        self.held = held
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await self._changed.wait()
                self._changed.clear()


@pytest.fixture
async def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    found, original = Received(), Watch.received

    def receive(self: Watch, message: ServerList | Delta, now: float) -> bool:
        try:
            return original(self, message, now)
        finally:
            found.note(message, self.current)

    monkeypatch.setattr(Watch, "received", receive)
    return found


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.server.start()
    yield service
    await service.server.stop(0)


async def test_deltas_are_asked_for_and_applied(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    one, two, three = backend(), backend(), backend()
    balancer.say([one.address, two.address], revision=("a", 1, "e"))
    client = connect(balancer, subset_size=7)
    await all_connected(client, [one, two])
    asked = balancer.requests[0]
    assert asked.deltas
    assert asked.subset_size == 7
    assert asked.client.id
    assert not asked.HasField("known")
    balancer.say([three.address], revision=("b", 2, "e"), base="a", removed=[one.address])
    await all_connected(client, [two, three])
    balancer.say(revision=("c", 3, "e"), base="b", removed=[two.address])
    await all_connected(client, [three])
    assert len(balancer.requests) == 1


async def test_what_is_held_is_named_after_a_reconnect_and_stays_while_nothing_comes(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    one, two = backend(), backend()
    balancer.say([one.address], revision=("a", 1, "e"))
    client = connect(balancer)
    await all_connected(client, [one])
    balancer.end_watches()
    await asyncio.to_thread(balancer.await_requests, 2)
    known = balancer.requests[1].known
    assert (known.digest, known.version, known.epoch) == ("a", 1, "e")
    assert await client.port() == one.port
    balancer.say([two.address], revision=("b", 2, "e"), base="a")
    await all_connected(client, [one, two])
    assert len(balancer.requests) == 2


async def test_a_delta_of_an_unknown_list_begins_the_watch_anew_with_the_whole_list(
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
    received: Received,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, two = backend(), backend()
    balancer.say([one.address], revision=("a", 1, "e"))
    client = connect(balancer)
    await all_connected(client, [one])
    with caplog.at_level(logging.DEBUG, "client_resolver"):
        balancer.say(revision=("c", 3, "e"), base="b", removed=[one.address])
        await asyncio.to_thread(balancer.await_requests, 2)
        assert await client.port() == one.port
        assert not balancer.requests[1].HasField("known")
        balancer.say([two.address], revision=("c", 3, "e"))
        await all_connected(client, [two])
    assert "a change of list 'b', which is not held" in caplog.text
    levels = {record.levelno for record in caplog.records if record.name == "client_resolver"}
    assert levels == {logging.DEBUG}
    await asyncio.to_thread(balancer.await_watches, 1)


async def test_deltas_of_the_service_give_the_list_that_the_service_has(
    service: Service, connect: Callable[..., Client], received: Received
) -> None:
    random = Random(7)
    pool = [f"127.0.{third}.{fourth}" for third in (0, 1, 10) for fourth in (2, 10, 9)]
    service.sync(record(*pool))
    client = connect(f"lookaside://{service.address}/{KEY.name}.{KEY.namespace}")
    call = client.start("unary_unary", "Unary", b"x", timeout=20, wait_for_ready=True)
    await received.until(lambda: bool(received.messages))
    for version in range(8, 40):
        chosen = random.sample(pool, random.randint(4, len(pool)))
        service.update(_weighted(record(*chosen), random), version)
        (snapshot,) = service.store.snapshots()
        wanted = [(one.target, one.weight) for one in snapshot.endpoints]

        def caught_up(wanted: list[tuple[str, int]] = wanted) -> bool:
            held = received.held
            return held is not None and wanted == [
                (one.address.text, one.weight) for one in held.endpoints
            ]

        await received.until(caught_up)
    call.call.cancel()
    assert sum(isinstance(message, Delta) for message in received.messages) > 10


def _weighted(record: ServiceRecord, random: Random) -> ServiceRecord:
    endpoints = {
        port: tuple(
            msgspec.structs.replace(one, weight=random.choice((100, 100, 5))) for one in listed
        )
        for port, listed in record.endpoints.items()
    }
    return msgspec.structs.replace(record, endpoints=endpoints)
