"""When backends are connected, how often, and how each is dialled."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest
import trustme

from client_resolver import Dialing, Endpoint
from client_resolver.core.model import Connectivity
from client_resolver.testing import Backend, Backends, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import KINDS, call, calls, connected, listed, snapshot
from tests.conformance.test_tls import served, trusting

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

READY = Connectivity.READY


def open_connections(client: Client) -> int:
    return sum(one.connectivity is not None for one in snapshot(client).backends)


def connections(backend: Backend) -> Counter[str]:
    """How many RPCs came to a backend by each connection."""
    return Counter(one.peer for one in backend.received)


async def test_every_backend_is_connected_from_the_first_use_on(
    fleet: Fleet, connect: Connect
) -> None:
    client = connect(fleet(3).target)
    assert open_connections(client) == 0
    await calls(client, 1)
    await eventually(lambda: [one.connectivity for one in snapshot(client).backends] == [READY] * 3)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lazy_channel_connects_a_backend_when_it_is_picked(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    client = connect(backends.target, connect="lazy")
    assert await call(client, kind) == [b"x"]
    assert open_connections(client) == 1
    while not all(backends.calls):
        assert await call(client, kind) == [b"x"]
    assert open_connections(client) == 3


async def test_a_connection_without_rpcs_is_closed_after_a_while_and_opened_again(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    client = connect(backends.target, connect="lazy", idle_timeout=0.1)
    await calls(client, 1)
    await eventually(lambda: open_connections(client) == 0)
    await calls(client, 1)
    assert len(connections(backends[0])) == 2


async def test_a_connection_with_an_rpc_is_not_idle(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    client = connect(backends.target, policy="pick_first", connect="lazy", idle_timeout=0.1)
    backends[0].hang()
    held = client.start("unary_unary", "Unary", b"x", timeout=20)
    await eventually(lambda: backends[0].in_flight)
    # Another channel of the same kind has its connection closed in the meantime.
    other = connect(f"static:///{backends[1].address}", connect="lazy", idle_timeout=0.2)
    await calls(other, 1)
    await eventually(lambda: open_connections(other) == 0)
    assert open_connections(client) == 1
    backends[0].recover()
    assert await held.response() == b"x"
    await eventually(lambda: open_connections(client) == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_connections_of_a_backend_share_its_rpcs(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, connections_per_backend=3)
    await connected(client, 2)

    async def shared() -> bool:
        backends.clear_calls()
        for _ in range(24):
            assert await call(client, kind) == [b"x"]
        return all(sorted(connections(one).values()) == [4, 4, 4] for one in backends)

    # A backend is ready with its first connection: the others join.
    while not await shared():
        pass


async def test_each_backend_is_dialled_as_the_application_says(
    authority: trustme.CA, connect: Connect
) -> None:
    names = ("one.example", "two.example")
    with (
        Backend(credentials=served(authority, names[0])) as one,
        Backend(credentials=served(authority, names[1])) as two,
    ):
        name_of = {one.address: names[0], two.address: names[1]}

        def dial(endpoint: Endpoint) -> Dialing:
            trusted = trusting(authority)
            return Dialing(credentials=trusted, authority=name_of[endpoint.address.text])

        # The channel's own credentials trust nobody here.
        mistrusting = trusting(trustme.CA())
        target = f"static:///{one.address},{two.address}"
        client = connect(target, credentials=mistrusting, dial=dial)
        await connected(client, 2)
        await calls(client, 4)
        assert [len(each.received) for each in (one, two)] == [2, 2]


async def test_a_backend_that_cannot_be_dialled_says_why_and_is_tried_again(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    keys = {backends[1].address}

    def dial(endpoint: Endpoint) -> None:
        if endpoint.address.text not in keys:
            raise OSError("no key for it")

    client = connect(backends.target, dial=dial)
    await connected(client, 1)
    await calls(client, 4)
    assert backends.calls == [0, 4]
    assert "no key for it" in listed(client)[backends[0].address].last_error
    keys.add(backends[0].address)
    await connected(client, 2)
    assert not listed(client)[backends[0].address].last_error


async def test_a_client_uses_a_subset_and_always_the_same(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(6)
    clients = [
        connect(backends.target, subset_size=2, client_id=name) for name in ("a", "a", *"bcdefgh")
    ]
    for client in clients:
        await connected(client, 2)
        await calls(client, 2)
    chosen = [frozenset(listed(client)) for client in clients]
    assert {len(each) for each in chosen} == {2}
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1
    assert sum(backends.calls) == 2 * len(clients)


async def test_no_thread_is_brought_by_a_backend(fleet: Fleet, connect: Connect) -> None:
    def own() -> set[threading.Thread]:
        others = ("client_resolver.testing", "asyncio_")
        return {one for one in threading.enumerate() if not one.name.startswith(others)}

    backends = fleet(40)
    one = connect(f"static:///{backends[0].address}")
    await connected(one, 1)
    before = own()
    client = connect(backends.target)
    await connected(client, 40)
    # The sync channel's own. The aio channel has none. Threads of other tests may end meanwhile.
    assert len(own() - before) == (0 if isinstance(client.channel, grpc.aio.Channel) else 1)


async def test_the_state_of_the_channel_is_that_of_its_best_backend(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target)
    assert snapshot(client).state is Connectivity.IDLE
    await client.await_state(grpc.ChannelConnectivity.READY)
    await connected(client, 2)
    backends[0].stop()
    await connected(client, 1)
    assert snapshot(client).state is READY
    backends[1].stop()
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    backends[1].restart()
    await client.await_state(grpc.ChannelConnectivity.READY)
    await client.close()
    assert snapshot(client).state is Connectivity.SHUTDOWN


@contextmanager
def silent() -> Iterator[str]:
    """Somewhere that accepts connections and never says anything: an attempt takes 20 s."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "pick_first"},
        {"connect": "lazy"},
        {"connect": "lazy", "policy": "pick_first"},
        {"service_config": {"circuitBreaker": {"maxConnections": 1}}},
    ],
    ids=["pick_first", "lazy", "lazy pick_first", "limited"],
)
async def test_silent_backends_in_front_hold_up_no_rpc_for_as_long_as_an_attempt_takes(
    settings: dict[str, object], kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    with silent() as one, silent() as two:
        client = connect(f"static:///{one},{two},{backends[0].address}", **settings)
        # Half of what gRPC gives one attempt to connect, whatever the machine has to do besides.
        assert await call(client, kind, timeout=10) == [b"x"]
        assert await call(client, kind, timeout=10) == [b"x"]
    assert len(connections(backends[0])) == 1
