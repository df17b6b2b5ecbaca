"""Backends that misbehave under load are routed around."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from client_resolver.testing import Backends, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import connected, retrying, snapshot
from tests.conformance.proxy import Proxy
from tests.conformance.traffic import Traffic

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]
Figures = Callable[[object], None]

LONG = "1000s"
EJECTION = {
    "outlierDetection": {
        "consecutiveErrors": 2,
        "interval": LONG,
        "baseEjectionTime": LONG,
        "maxEjectionPercent": 50,
    }
}

MOVABLE = ("unary_unary", "stream_unary")
"""Kinds of RPC that can be tried elsewhere up to their end. A stream that has given a message stays
where it is: what its connection comes to is the application's."""


@pytest.fixture
def before() -> Iterator[Callable[[Backends], list[Proxy]]]:
    """Puts a proxy before each backend."""
    with ExitStack() as stack:
        yield lambda backends: [stack.enter_context(Proxy(one.port)) for one in backends]


def share(backends: Backends) -> str:
    """The part of the RPCs that the first backend got."""
    return f"{backends.calls[0] / sum(backends.calls):.1%} to the one that misbehaves"


async def test_a_backend_that_hangs_is_given_up_and_ejected(
    fleet: Fleet, connect: Connect, figures: Figures
) -> None:
    backends = fleet(3)
    config = {**retrying(perAttemptRecvTimeout="0.5s"), **EJECTION}
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    async with Traffic(client) as traffic:
        backends.clear_calls()
        traffic.start_over()
        backends[0].hang()
        await eventually(lambda: snapshot(client).ejected)
        await traffic.progress(300)
    figures(f"{traffic}; {share(backends)}")
    assert not traffic.failed
    assert snapshot(client).ejected == (backends[0].address,)
    # Those that were under way when it was ejected, and no more.
    assert backends.calls[0] <= 8


async def test_a_backend_that_answers_half_with_unavailable_is_ejected(
    fleet: Fleet, connect: Connect, figures: Figures
) -> None:
    backends = fleet(3)
    ejection = {"threshold": 30, "minimumHosts": 3, "requestVolume": 5}
    outliers = {"interval": "0.5s", "baseEjectionTime": LONG, "maxEjectionPercent": 50}
    config = {
        **retrying(maxAttempts=5),
        "outlierDetection": {**outliers, "failurePercentageEjection": ejection},
    }
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    async with Traffic(client) as traffic:
        backends.clear_calls()
        traffic.start_over()
        backends[0].fail(share=0.5)
        await eventually(lambda: snapshot(client).ejected)
        reached = backends.calls[0]
        await traffic.progress(300)
    figures(f"{traffic}; {share(backends)}")
    assert not traffic.failed
    assert snapshot(client).ejected == (backends[0].address,)
    assert backends.calls[0] <= reached + 4


async def test_a_backend_that_resets_its_connections_costs_no_rpc(
    fleet: Fleet,
    before: Callable[[Backends], list[Proxy]],
    connect: Connect,
    figures: Figures,
) -> None:
    backends = fleet(3)
    proxies = before(backends)
    target = "static:///" + ",".join(proxy.address for proxy in proxies)
    config = retrying(maxAttempts=5)
    client = connect(target, service_config=config)
    await connected(client, 3)
    resets = 0
    async with Traffic(client, kinds=MOVABLE) as traffic:
        traffic.start_over()
        backends.clear_calls()
        while resets < 20:
            resets += proxies[0].reset()
            await traffic.progress(20)
    figures(f"{traffic}; {resets} resets; {share(backends)}")
    assert not traffic.failed


async def test_a_backend_that_is_blackholed_is_found_by_keepalive(
    fleet: Fleet,
    before: Callable[[Backends], list[Proxy]],
    connect: Connect,
    figures: Figures,
) -> None:
    backends = fleet(3)
    proxies = before(backends)
    target = "static:///" + ",".join(proxy.address for proxy in proxies)
    client = connect(target, service_config=retrying(), keepalive=(0.5, 0.5))
    await connected(client, 3)
    async with Traffic(client, kinds=MOVABLE) as traffic:
        backends.clear_calls()
        traffic.start_over()
        proxies[0].freeze()
        await connected(client, 2)
        await traffic.progress(300)
        figures(f"{traffic}, max {max(traffic.seconds):.2f} s; {share(backends)}")
        proxies[0].thaw()
        await connected(client, 3)
        backends.clear_calls()
        await traffic.progress(50)
    assert not traffic.failed
    assert backends[0].received


async def test_a_listener_that_says_nothing_is_never_picked(
    fleet: Fleet,
    before: Callable[[Backends], list[Proxy]],
    connect: Connect,
    figures: Figures,
) -> None:
    backends = fleet(3)
    proxies = before(backends)
    proxies[0].freeze()
    target = "static:///" + ",".join(proxy.address for proxy in proxies)
    client = connect(target)
    await connected(client, 2)
    async with Traffic(client) as traffic:
        await traffic.progress(300)
    figures(f"{traffic}; {share(backends)}")
    assert not traffic.failed
    assert backends.calls[0] == 0
    assert snapshot(client).state.name == grpc.ChannelConnectivity.READY.name
    await asyncio.to_thread(proxies[0].thaw)
