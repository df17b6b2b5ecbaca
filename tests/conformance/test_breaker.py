"""Circuit breaking: what a channel carries at once, and what it refuses."""

from collections.abc import Callable

import grpc

from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Call, Client
from tests.conformance.fleet import (
    KINDS,
    SERVICE,
    attempts,
    call,
    calls,
    code_of,
    connected,
    details_of,
    failure,
    retrying,
    snapshot,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]


def limits(**fields: int) -> dict[str, object]:
    return {"circuitBreaker": fields}


def hold(client: Client, kind: str = "unary_unary") -> Call:
    return client.start(kind, *KINDS[kind], timeout=20)


async def test_an_rpc_beyond_the_largest_number_is_refused_at_once(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    client = connect(backends.target, service_config=limits(maxRequests=len(KINDS)))
    await connected(client, 1)
    backends[0].hang()
    held = [hold(client, kind) for kind in KINDS]
    await eventually(lambda: backends[0].in_flight == len(KINDS))
    for kind in KINDS:
        error = await failure(client, kind)
        assert code_of(error) is grpc.StatusCode.UNAVAILABLE
        assert f"max_requests ({len(KINDS)}) reached" in details_of(error)
        assert backends.target in details_of(error)
    assert attempts(backends) == len(KINDS)
    backends.recover()
    for kind, one in zip(KINDS, held, strict=True):
        if kind.endswith("unary"):
            assert await one.response() == b"x"
        else:
            assert [await one.read(), await one.read()] == [b"x", None]
    for kind in KINDS:
        assert await call(client, kind) == [b"x"]


async def test_an_rpc_that_would_be_one_too_many_to_wait_is_refused(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    lister.serve(SERVICE, [])
    config = limits(maxPendingRequests=2)
    client = connect(lister.target(SERVICE), service_config=config)
    held = [
        client.start("unary_unary", "Unary", b"x", timeout=20, wait_for_ready=True)
        for _ in range(2)
    ]
    error = await failure(client, wait_for_ready=True)
    assert code_of(error) is grpc.StatusCode.UNAVAILABLE
    assert "max_pending_requests (2) reached" in details_of(error)
    now = snapshot(client)
    assert (now.waiting_calls, now.breaker_pending, now.breaker_requests) == (2, 2, 2)
    lister.serve(SERVICE, fleet(1))
    assert [await one.response() for one in held] == [b"x", b"x"]
    assert await call(client) == [b"x"]
    now = snapshot(client)
    assert (now.waiting_calls, now.breaker_pending, now.breaker_requests) == (0, 0, 0)


async def test_no_more_than_the_largest_number_of_retries_is_under_way(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].fail()
    backends[1].fail()
    slow = retrying(initialBackoff="1000s", maxBackoff="1000s")
    client = connect(backends.target, service_config={**slow, **limits(maxRetries=1)})
    await connected(client, 2)
    waits = hold(client)
    await eventually(lambda: attempts(backends) == 1)
    await eventually(lambda: snapshot(client).breaker_retries == 1)
    error = await failure(client)
    assert details_of(error) == "as the test wants it"
    assert attempts(backends) == 2
    assert waits.call.cancel()
    await eventually(lambda: snapshot(client).breaker_retries == 0)


async def test_no_more_than_the_largest_number_of_connections_is_opened(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(4)
    client = connect(backends.target, service_config=limits(maxConnections=2))
    await connected(client, 2)
    await calls(client, 8)
    assert sorted(backends.calls) == [0, 0, 4, 4]
    assert [one.connectivity for one in snapshot(client).backends].count(None) == 2


async def test_the_balancer_may_change_the_limits_while_rpcs_run(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(1)
    lister.serve(SERVICE, backends, service_config=limits(maxRequests=1))
    client = connect(lister.target(SERVICE))
    await connected(client, 1)
    backends[0].hang()
    held = [hold(client)]
    await eventually(lambda: backends[0].in_flight == 1)
    await failure(client)
    before = snapshot(client).revision
    lister.serve(SERVICE, backends, service_config=limits(maxRequests=2))
    await eventually(lambda: snapshot(client).revision != before)
    held.append(hold(client))
    await eventually(lambda: backends[0].in_flight == 2)
    assert "max_requests (2) reached" in details_of(await failure(client))
    backends.recover()
    assert [await one.response() for one in held] == [b"x", b"x"]
