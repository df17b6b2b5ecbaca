"""Hedging by service config (gRFC A6): attempts side by side, on different backends."""

from collections.abc import Callable, Iterable, Iterator

import grpc
import pytest

from client_resolver.testing import Backends, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import (
    KINDS,
    attempts,
    call,
    code_of,
    connected,
    details_of,
    failure,
    for_all,
    serving,
    snapshot,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
NEVER = "1000s"
TELLING = [("grpc.enable_retries", 0)]
"""Without it, C-core takes away what tells a server how many attempts there were."""


def hedging(**fields: object) -> dict[str, object]:
    defaults = {"maxAttempts": 3, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
    return for_all(hedgingPolicy={**defaults, **fields})


@pytest.mark.parametrize("kind", KINDS)
async def test_an_rpc_that_takes_long_is_answered_by_another_backend(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=hedging(maxAttempts=2))
    await connected(client, 2)
    backends[0].hang()
    for _ in range(2):
        assert await call(client, kind) == [b"x"]
    assert backends[0].received
    # What the other took up was cancelled: nothing recovers it here.
    await eventually(lambda: backends[0].in_flight == 0)
    await eventually(lambda: snapshot(client).in_flight == 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_delay_all_attempts_start_at_once_on_different_backends(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    client = connect(backends.target, service_config=hedging(hedgingDelay="0s"), options=TELLING)
    await connected(client, 3)
    for backend in backends:
        backend.hang()
    one = client.start(kind, *KINDS[kind], timeout=20)
    await eventually(lambda: backends.calls == [1, 1, 1])
    told = [
        str(dict(backend.received[0].metadata).get("grpc-previous-rpc-attempts"))
        for backend in backends
    ]
    assert sorted(told) == ["1", "2", "None"]
    backends[1].recover()
    assert (await one.response() if kind.endswith("unary") else await one.read()) == b"x"
    await eventually(lambda: not any(backend.in_flight for backend in backends))


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_failure_that_is_not_fatal_the_next_attempt_starts_at_once(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=hedging(hedgingDelay=NEVER))
    await connected(client, 2)
    backends[0].fail()
    for _ in range(4):
        assert await call(client, kind) == [b"x"]
    assert backends.calls[1] == 4
    assert backends.calls[0] > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fatal_failure_ends_the_rpc_and_its_other_attempts(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=hedging(hedgingDelay="0s", maxAttempts=2))
    await connected(client, 2)
    backends[0].hang()
    backends[1].fail(grpc.StatusCode.DATA_LOSS, "gone")
    error = await failure(client, kind)
    assert (code_of(error), details_of(error)) == (grpc.StatusCode.DATA_LOSS, "gone")
    await eventually(lambda: not any(backend.in_flight for backend in backends))


async def test_when_every_attempt_has_failed_the_rpc_fails(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(3)
    for backend in backends:
        backend.fail(details="not now")
    client = connect(backends.target, service_config=hedging(hedgingDelay=NEVER))
    await connected(client, 3)
    error = await failure(client)
    assert (code_of(error), details_of(error)) == (UNAVAILABLE, "not now")
    assert backends.calls == [1, 1, 1]


def forbidding(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))
    context.abort(UNAVAILABLE, "no more")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_may_forbid_another_attempt(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, serving(forbidding))
    client = connect(backends.target, service_config=hedging(hedgingDelay=NEVER))
    assert details_of(await failure(client, kind)) == "no more"
    assert attempts(backends) == 1


async def test_a_throttled_channel_starts_no_hedges(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail()
    throttling = {"retryThrottling": {"maxTokens": 2, "tokenRatio": 1}}
    config = {**hedging(hedgingDelay=NEVER), **throttling}
    client = connect(backends.target, service_config=config)
    await connected(client, 2)
    await failure(client)
    assert attempts(backends) == 1
