"""gRPC's own clients with the `grpclb` policy, which find the balancer by its SRV record."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import grpc
import pytest

from client_resolver import testing
from client_resolver.testing.server import reserve_port
from examples.grpclb import client
from lookaside.api.grpclb.server_list import ENTRIES
from lookaside.api.server import Doors
from lookaside.model import Endpoint, ServicePort, ServiceRecord
from tests.api.conftest import KEY, Balancer, running
from tests.api.grpclb.nameserver import NameServer, Records

METHOD = "/echo.Echo/Any"
TIMEOUT = 30.0
NAME = "lookaside.test"
Call = Callable[..., grpc.aio.UnaryUnaryCall[bytes, bytes]]


@pytest.fixture(scope="module")
def backends() -> Iterator[testing.Backends]:
    with testing.Backends(4) as backends:
        yield backends


@pytest.fixture(autouse=True)
def forgotten(backends: testing.Backends) -> None:
    backends.clear_calls()


def of(
    *backends: testing.Backend, weights: tuple[int, ...] = (), port: str = "grpc"
) -> ServiceRecord:
    """The service with some backends, of weight 100 each unless it is said otherwise."""
    weighted = zip(backends, weights or (100,) * len(backends), strict=True)
    endpoints = sorted(Endpoint("127.0.0.1", backend.port, weight) for backend, weight in weighted)
    return ServiceRecord(KEY, (ServicePort(port, 80),), {port: tuple(endpoints)})


def options(service: str) -> list[tuple[str, object]]:
    config = {"loadBalancingConfig": [{"grpclb": {"serviceName": service}}]}
    return [
        ("grpc.dns_enable_srv_queries", 1),
        ("grpc.service_config", json.dumps(config)),
        ("grpc.service_config_disable_resolution", 1),
        # It is a busy machine's time that passes, not the balancer's.
        ("grpc.grpclb_fallback_timeout_ms", 20_000),
    ]


def names(balancer_port: int) -> NameServer:
    """The name server of a cluster: the balancer's own name and, for fallback, its address."""
    services = {f"_grpclb._tcp.{NAME}": [("balancer.test", balancer_port)]}
    return NameServer(Records({NAME: ["127.0.0.1"], "balancer.test": ["127.0.0.1"]}, services))


@asynccontextmanager
async def dialling(
    balancer_port: int, *, fallback_port: int = 9, service: str = "greeter:80"
) -> AsyncIterator[Call]:
    """Yield what makes an RPC, by a channel of grpc.aio."""
    with names(balancer_port) as server:
        target = f"dns://{server.address}/{NAME}:{fallback_port}"
        async with grpc.aio.insecure_channel(target, options(service)) as channel:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            yield partial(method, b"x", timeout=TIMEOUT, wait_for_ready=True)


async def until_served_by(call: Call, *backends: testing.Backend) -> None:
    """Make RPCs until these backends alone have served the last ones."""
    rounds = 4 * len(backends)
    while True:
        for backend in backends:
            backend.clear_calls()
        for _ in range(rounds):
            await call()
        if sum(len(backend.received) for backend in backends) == rounds:
            return


async def shares(call: Call, backends: testing.Backends, rpcs: int) -> list[float]:
    """Return what part of RPCs each backend gets."""
    backends.clear_calls()
    for _ in range(rpcs):
        await call()
    return [calls / rpcs for calls in backends.calls]


async def test_weights_are_shares_and_changes_arrive_without_a_failed_rpc(
    balancer: Balancer, backends: testing.Backends
) -> None:
    """The policy takes entries in turn, from a random one on: so of whole rounds, it is exact."""
    balancer.sync(of(*backends[:2], weights=(300, 100)))
    async with dialling(balancer.server.port) as call:
        await until_served_by(call, *backends[:2])
        assert await shares(call, backends, 400) == pytest.approx([0.75, 0.25, 0, 0], abs=0.02)
        balancer.update(of(*backends[1:], weights=(50, 20, 30)))
        await until_served_by(call, *backends[1:])
        assert await shares(call, backends, 400) == pytest.approx([0, 0.5, 0.2, 0.3], abs=0.02)
        # These come to more entries than a list may have, so that they are rounded.
        balancer.update(of(*backends, weights=(997, 1009, 1013, 0)), version=9)
        assert ENTRIES < 997 + 1009 + 1013
        await until_served_by(call, *backends[:3])
        third = pytest.approx(1 / 3, abs=0.02)
        assert await shares(call, backends, 1_000) == [third, third, third, 0]


async def test_a_sync_client_is_served_alike(
    balancer: Balancer, backends: testing.Backends
) -> None:
    balancer.sync(of(*backends[:2], weights=(300, 100)))

    def calls(address: str) -> None:
        target = f"dns://{address}/{NAME}:9"
        with client.channel(target, "greeter") as channel:
            method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            while not all(backends.calls[:2]):
                method(b"x", timeout=TIMEOUT, wait_for_ready=True)
            backends.clear_calls()
            for _ in range(400):
                method(b"x", timeout=TIMEOUT)

    with names(balancer.server.port) as server:
        await asyncio.to_thread(calls, server.address)
    assert [calls / 400 for calls in backends.calls] == pytest.approx([0.75, 0.25, 0, 0], abs=0.02)


async def test_a_service_that_is_scaled_to_zero_fails_rpcs_and_comes_back(
    balancer: Balancer, backends: testing.Backends
) -> None:
    balancer.sync(of(*backends[:1]))
    async with dialling(balancer.server.port) as call:
        await call()
        balancer.update(of())
        while await call(wait_for_ready=False).code() is grpc.StatusCode.OK:
            pass
        assert await call(wait_for_ready=False).code() is grpc.StatusCode.UNAVAILABLE
        waiting = call()
        balancer.update(of(backends[1]), version=9)
        assert await waiting == b"x"
        assert backends[1].received


async def test_a_port_that_is_renamed_loses_no_backend(
    balancer: Balancer, backends: testing.Backends
) -> None:
    balancer.sync(of(*backends[:2]))
    async with dialling(balancer.server.port) as call:
        await until_served_by(call, *backends[:2])
        balancer.update(of(*backends[:2], port="http2"))
        await until_served_by(call, *backends[:2])
        assert balancer.observer.requests == []


async def test_an_unknown_service_is_what_the_name_resolves_to(
    balancer: Balancer, backends: testing.Backends
) -> None:
    balancer.sync()
    fallback = backends[3]
    async with dialling(balancer.server.port, fallback_port=fallback.port) as call:
        await until_served_by(call, fallback)
        balancer.update(of(backends[0]))
        await until_served_by(call, backends[0])


async def test_a_balancer_that_is_killed_and_comes_back_costs_no_rpc(
    backends: testing.Backends,
) -> None:
    port = reserve_port(backends)
    async with running(Balancer(port=port)) as first:
        first.sync(of(*backends[:2]))
        async with dialling(port) as call:
            await until_served_by(call, *backends[:2])
            await first.server.stop(0)
            for _ in range(50):
                await call()
            async with running(Balancer(port=port)) as second:
                second.sync(of(*backends[2:]))
                await until_served_by(call, *backends[2:])


async def test_rolling_updates_fail_no_rpc(balancer: Balancer) -> None:
    """Each backend is taken from the list, then it stops once it has nothing to do."""
    with testing.Backends(2) as fleet:
        serving = list(fleet[:])
        balancer.sync(of(*serving))
        async with dialling(balancer.server.port) as call:
            await until_served_by(call, *serving)
            for version in range(8, 14):
                [arrived] = fleet.start()
                leaving, serving = serving[0], [*serving[1:], arrived]
                balancer.update(of(*serving), version=version)
                await until_served_by(call, *serving)
                leaving.stop(TIMEOUT)


async def test_load_is_reported_where_it_is_asked_for(backends: testing.Backends) -> None:
    async with running(Balancer(doors=Doors(load_reports=1))) as balancer:
        balancer.sync(of(backends[0]))
        async with dialling(balancer.server.port) as call:
            for _ in range(10):
                await call()
            await balancer.until(
                lambda: sum(counts.finished for _, counts in balancer.observer.reported) >= 10
            )
        assert {service for service, _ in balancer.observer.reported} == {"greeter.default:grpc"}
        assert sum(counts.received for _, counts in balancer.observer.reported) == 10
