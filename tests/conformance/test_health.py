"""gRPC's health checks of each backend (gRFC A17)."""

from collections.abc import Callable

import grpc

from client_resolver.testing import Backends, Balancer, LoopbackServer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import (
    KINDS,
    SERVICE,
    call,
    calls,
    code_of,
    connected,
    details_of,
    failure,
    listed,
    serving,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

HEALTH = {"healthCheckConfig": {"serviceName": "shop.Greeter"}}


async def test_a_backend_that_is_not_serving_gets_no_rpc_until_it_is(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    backends[1].set_healthy(False)
    client = connect(backends.target, service_config=HEALTH)
    await connected(client, 2)
    await calls(client, 6)
    assert backends.calls == [3, 0, 3]
    backends[1].set_healthy(True)
    await connected(client, 3)
    backends.clear_calls()
    await calls(client, 6)
    assert backends.calls == [2, 2, 2]
    backends[0].set_healthy(False)
    await connected(client, 2)
    backends.clear_calls()
    await calls(client, 6)
    assert backends.calls == [0, 3, 3]


async def test_rpcs_under_way_go_on_when_their_backend_is_not_serving_any_more(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=HEALTH)
    await connected(client, 2)
    for backend in backends:
        backend.hang()
    held = [client.start(kind, *request, timeout=20) for kind, request in KINDS.items()]
    await eventually(lambda: sum(backends.calls) == len(held))
    backends[0].set_healthy(False)
    await connected(client, 1)
    backends.recover()
    for kind, one in zip(KINDS, held, strict=True):
        assert (await one.response() if kind.endswith("unary") else await one.read()) == b"x"


async def test_an_error_says_that_every_backend_is_not_well(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.set_healthy(False)
    client = connect(backends.target, service_config=HEALTH)
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    error = await failure(client)
    assert code_of(error) is grpc.StatusCode.UNAVAILABLE
    assert backends.target in details_of(error)
    assert all(backend.address in details_of(error) for backend in backends)
    waits = client.start("unary_unary", "Unary", b"x", timeout=20, wait_for_ready=True)
    backends[1].set_healthy(True)
    assert await waits.response() == b"x"
    assert backends.calls == [0, 1]


class Healthless(LoopbackServer):
    """Answers every method but health checks, which it doesn't know."""

    def _register(self, server: grpc.Server) -> None:
        serving(lambda requests, _context: requests)(server)


async def test_a_backend_that_knows_no_health_checks_is_taken_for_healthy(
    connect: Connect,
) -> None:
    with Healthless(0, None) as server:
        client = connect(f"static:///{server.address}", service_config=HEALTH)
        await connected(client, 1)
        assert await call(client) == [b"x"]


async def test_without_the_config_nobodys_health_is_asked_for(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].set_healthy(False)
    client = connect(backends.target)
    await connected(client, 2)
    await calls(client, 4)
    assert backends.calls == [2, 2]


async def test_the_balancer_may_ask_for_health_checks(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].set_healthy(False)
    lister.serve(SERVICE, backends, service_config=HEALTH)
    client = connect(lister.target(SERVICE))
    await connected(client, 1)
    await calls(client, 4)
    assert backends.calls == [0, 4]
    assert listed(client)[backends[0].address].failing
