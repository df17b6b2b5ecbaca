"""The metrics of real channels."""

import asyncio
from collections.abc import Callable

import grpc
import pytest
from prometheus_client import CollectorRegistry

import client_resolver
from client_resolver import testing
from client_resolver.metrics import Prometheus
from tests.conformance.clients import Client

RETRY = {
    "maxAttempts": 2,
    "initialBackoff": "0.001s",
    "maxBackoff": "0.001s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
METHOD = "/echo.Echo/Unary"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def connected(client: Client, count: int) -> None:
    if isinstance(client.channel, client_resolver.Channel):
        await asyncio.to_thread(testing.connect, client.channel, count)
    else:
        await testing.connect_aio(client.channel, count)


async def test_rpcs_and_connections_are_told_by_backend(
    connect: Callable[..., Client],
    fleet: Callable[..., testing.Backends],
    registry: CollectorRegistry,
) -> None:
    backends = fleet(2)
    client = connect(backends.target, observers=[Prometheus(registry)])
    await connected(client, 2)
    for _ in range(6):
        await client.unary(timeout=20)
    for one in backends:
        by = {"target": backends.target, "backend": one.address}
        of = {**by, "method": METHOD, "code": "OK"}
        assert registry.get_sample_value("grpc_client_requests_total", of) == 3
        assert (
            registry.get_sample_value("grpc_client_connection_state", {**by, "state": "READY"}) == 1
        )
        assert registry.get_sample_value("grpc_client_in_flight", by) == 0
    rpcs = {"target": backends.target, "method": METHOD}
    assert registry.get_sample_value("grpc_client_request_duration_seconds_count", rpcs) == 6
    assert registry.get_sample_value("grpc_client_failures_total", {**rpcs, "code": "OK"}) is None


async def test_attempts_retries_and_failures_are_told_apart(
    connect: Callable[..., Client],
    fleet: Callable[..., testing.Backends],
    registry: CollectorRegistry,
) -> None:
    backends = fleet(2)
    for one in backends:
        one.fail()
    config = {"methodConfig": [{"name": [{}], "retryPolicy": RETRY}]}
    client = connect(backends.target, service_config=config, observers=[Prometheus(registry)])
    await connected(client, 2)
    with pytest.raises(grpc.RpcError):
        await client.unary(timeout=20)
    for one in backends:
        of = {"target": backends.target, "backend": one.address, "method": METHOD}
        of["code"] = "UNAVAILABLE"
        assert registry.get_sample_value("grpc_client_requests_total", of) == 1
    target = {"target": backends.target}
    assert registry.get_sample_value("grpc_client_retries_total", target) == 1
    failed = {**target, "method": METHOD, "code": "UNAVAILABLE"}
    assert registry.get_sample_value("grpc_client_failures_total", failed) == 1


async def test_the_lists_age_and_its_loss_are_told(
    connect: Callable[..., Client],
    fleet: Callable[..., testing.Backends],
    lister: testing.Balancer,
    registry: CollectorRegistry,
) -> None:
    lister.serve("greeter", fleet(2))
    target = {"target": lister.target("greeter")}
    client = connect(target["target"], observers=[Prometheus(registry)])
    await connected(client, 2)

    def told(name: str) -> float:
        return registry.get_sample_value(f"grpc_client_{name}", target) or 0.0

    assert told("list_age_seconds") == 0
    assert told("list_backends") == 2
    assert told("list_version") == client.channel.snapshot().revision.version
    await asyncio.to_thread(lister.stop)
    await testing.eventually(lambda: told("balancer_losses_total") >= 1)
    assert await testing.eventually(lambda: told("list_age_seconds")) > 0
    lister.restart()
    await testing.eventually(lambda: lister.watches == 1)


async def test_a_closed_channel_leaves_no_state(
    connect: Callable[..., Client],
    fleet: Callable[..., testing.Backends],
    registry: CollectorRegistry,
) -> None:
    backends = fleet(1)
    client = connect(backends.target, observers=[Prometheus(registry)])
    await connected(client, 1)
    of = {"target": backends.target, "backend": backends[0].address}
    assert registry.get_sample_value("grpc_client_in_flight", of) == 0
    await client.close()
    assert registry.get_sample_value("grpc_client_in_flight", of) is None
