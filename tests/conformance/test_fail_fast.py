"""Policies that go by load or latency aren't drawn to a backend that fails at once."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from client_resolver.testing import Backends, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import KINDS, call, connected, policy

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

RPCS = 80
MOST = 66
"""RPCs to one of two backends. By even chance, more have a probability of 3 in 10 000 000 000."""
DRAWN = ["least_request", "peak_ewma"]


async def try_call(client: Client, kind: str, **kwargs: Any) -> None:
    with suppress(grpc.RpcError):
        await call(client, kind, **kwargs)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("unary_unary", "RESOURCE_EXHAUSTED"),
        ("unary_stream", "UNIMPLEMENTED"),
        ("stream_unary", "UNAUTHENTICATED"),
        ("stream_stream", "FAILED_PRECONDITION"),
    ],
)
async def test_a_backend_that_fails_at_once_gets_at_most_its_share(
    name: str, kind: str, code: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=policy(name))
    await connected(client, 2)
    backends[0].fail(grpc.StatusCode[code])
    backends[1].delay(0.02)
    left = iter(range(RPCS))

    async def keep_calling() -> None:
        for _ in left:
            await try_call(client, kind)

    await asyncio.gather(*(keep_calling() for _ in range(5)))
    assert sum(backends.calls) == RPCS
    assert 0 < backends.calls[0] <= MOST


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_application_cancels_is_no_failure_of_the_backend(
    name: str, kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=policy(name))
    await connected(client, 2)
    for backend in backends:
        backend.hang()
    started = [client.start(kind, *KINDS[kind]) for _ in range(6)]
    await eventually(lambda: sum(backends.calls) == 6)
    for one in started:
        one.call.cancel()
    await eventually(lambda: not any(backend.in_flight for backend in backends))
    assert penalties(client) == {}


def penalties(client: Client) -> dict[object, float]:
    """What backends sit out."""
    picker: Any = client.channel._driver.outlook.picker
    left: dict[object, float] = picker.penalties.left
    return left
