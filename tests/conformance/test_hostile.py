"""Nothing that a balancer sends ends following it, nor takes backends away."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, cast

import grpc
import pytest

from client_resolver import Connectivity, Observer, testing
from client_resolver._pb import lookaside_pb2
from tests.conformance.clients import Client
from tests.conformance.conftest import SERVICE
from tests.conformance.servers import BOUND, Backend
from tests.conformance.test_balancing import all_connected

ROUNDS = 300
SEED = 4711
NUMBERS = (-(2**31), -1, 0, 1, 2, 100, 2**31 - 1)
TEXTS = (
    "",
    "x",
    "127.0.0.1:1",
    "127.0.0.1:99999",
    "127.0.0.1:" + "1" * 5000,
    "[::1",
    "[::1]:1",
    "unix:/tmp/x",
    "unix-abstract:x",
    "1.2.3:1",
    "\x00:1",
    "\u202e\n:1",
    "a" * 100_000,
)
CONFIGS = ("", "{", "[" * 50_000, '{"loadBalancingConfig": [{"ring_hash": {"minRingSize": -1}}]}')


class RawBalancer(testing.Balancer):
    """A balancer that says bytes as well, and tells when it has said something."""

    def __init__(self) -> None:
        self.said = threading.Semaphore(0)
        super().__init__(silent=True)

    def _register(self, server: grpc.Server) -> None:
        handler = grpc.unary_stream_rpc_method_handler(
            self.WatchServers,
            request_deserializer=lookaside_pb2.WatchServersRequest.FromString,
            response_serializer=self._serialize,
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "lookaside.LoadBalancer", {"WatchServers": handler}
                ),
            )
        )

    def _serialize(self, message: Any) -> bytes:
        self.said.release()
        return message if isinstance(message, bytes) else bytes(message.SerializeToString())

    def _held(self, request: Any) -> Any:
        return None

    async def say(self, message: Any) -> None:
        """Set what every watch is told, and wait until one is."""
        while self.said.acquire(blocking=False):
            pass
        self.publish("", message)
        assert await asyncio.to_thread(self.said.acquire, timeout=BOUND)


@pytest.fixture
def raw() -> Iterator[RawBalancer]:
    with RawBalancer() as balancer:
        yield balancer


def listing(*backends: Backend, digest: str = "") -> lookaside_pb2.WatchServersResponse:
    return lookaside_pb2.WatchServersResponse(
        servers=[lookaside_pb2.Server(address=one.address, weight=1) for one in backends],
        state="STATE_PRESENT",
        revision=lookaside_pb2.Revision(digest=digest),
    )


def random_message(rng: Random, good: Backend) -> lookaside_pb2.WatchServersResponse:
    """A message of random fields. It has a backend that can be reached, unless it is a delta."""
    message = listing(good, digest=rng.choice(["", "a", "b"]))
    message.state = cast("lookaside_pb2.State", rng.randrange(9))
    message.revision.version = rng.choice([0, 1, 2**63 - 1])
    message.revision.epoch = rng.choice(TEXTS)
    message.service_config = rng.choice(CONFIGS)
    for _ in range(rng.randrange(6)):
        message.servers.add(
            address=rng.choice(TEXTS),
            weight=rng.choice(NUMBERS),
            metadata={rng.choice(TEXTS): rng.choice(TEXTS)},
            locality=lookaside_pb2.Locality(zone=rng.choice(TEXTS), node=rng.choice(TEXTS)),
        )
    return message


def random_delta(rng: Random, good: Backend) -> lookaside_pb2.WatchServersResponse:
    message = random_message(rng, good)
    message.delta.base = rng.choice(["", "a", "b", *TEXTS])
    message.delta.removed.extend(rng.choices(TEXTS, k=rng.randrange(4)))
    return message


def random_bytes(rng: Random, good: Backend) -> bytes:
    message = random_message(rng, good).SerializeToString()
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(1, 200))
    # A true message with some bytes changed, or cut off.
    changed = bytearray(message)
    for _ in range(rng.randrange(1, 5)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(1, len(changed) + 1)])


def ready(client: Client) -> list[str]:
    backends = client.channel.snapshot().backends
    return [one.address for one in backends if one.connectivity is Connectivity.READY]


@pytest.mark.parametrize("make", [random_message, random_delta, random_bytes])
async def test_whatever_a_balancer_sends_the_next_good_list_is_taken(
    make: Callable[[Random, Backend], Any],
    raw: RawBalancer,
    backend: Callable[[], Backend],
    connect: Callable[..., Client],
) -> None:
    rng, first, second = Random(SEED), backend(), backend()
    logging.getLogger("client_resolver").setLevel(logging.CRITICAL)
    client = connect(raw.target(SERVICE), watch_backoff=(0.001, 0.002), older_revision_hold=0.001)
    try:
        raw.publish("", listing(first))
        assert await client.port() == first.port
        for _ in range(ROUNDS):
            await raw.say(make(rng, first))
        await raw.say(listing(second, digest="good"))
        # Until it is taken, there may be no backend: a message may have said so.
        await testing.eventually(lambda: ready(client) == [second.address])
        assert await client.port() == second.port
    finally:
        logging.getLogger("client_resolver").setLevel(logging.NOTSET)


BAD = {
    "no message": b"\xff\xff",
    "a delta of a list that is not held": lookaside_pb2.WatchServersResponse(
        delta=lookaside_pb2.Delta(base="other")
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_message_that_cant_be_used_is_a_loss_that_is_counted_and_changes_nothing(
    name: str,
    raw: RawBalancer,
    backend: Callable[[], Backend],
    connect: Callable[..., Client],
) -> None:
    class Losses(Observer):
        def __init__(self) -> None:
            self.told: list[str] = []

        def balancer_lost(self, target: str, reason: str) -> None:
            self.told.append(reason)

    first, second, losses = backend(), backend(), Losses()
    raw.publish("", listing(first))
    client = connect(raw.target(SERVICE), observers=[losses])
    assert await client.port() == first.port
    await raw.say(BAD[name])
    await testing.eventually(lambda: len(losses.told) >= 3)
    assert await client.port() == first.port
    raw.publish("", listing(second))
    await all_connected(client, [second])
    for text in losses.told:
        assert "the 1 backends last known are kept" in text


async def test_a_message_that_cant_be_used_is_warned_of_once(
    raw: RawBalancer,
    backend: Callable[[], Backend],
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw.publish("", listing(backend()))
    client = connect(raw.target(SERVICE))
    await client.port()
    with caplog.at_level(logging.WARNING):
        await raw.say(b"\xff\xff")
        await asyncio.to_thread(raw.wait_for_requests, 6)
    text = "its message can't be used: DecodeError: "
    assert [text in record.getMessage() for record in caplog.records] == [True]
