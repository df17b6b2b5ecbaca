import grpc
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.api.conftest import Balancer, record

SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN
OVERALL = [
    *("", "lookaside.LoadBalancer", "grpc.lb.v1.LoadBalancer", "grpc.health.v1.Health"),
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
]


async def check(channel: grpc.aio.Channel, service: str) -> int:
    response = await HealthStub(channel).Check(pb.HealthCheckRequest(service=service))
    return int(response.status)


@pytest.mark.parametrize("service", OVERALL)
async def test_the_whole_serves_once_its_sources_have_synced(
    balancer: Balancer, channel: grpc.aio.Channel, service: str
) -> None:
    assert await check(channel, service) == NOT_SERVING
    balancer.sync()
    assert await check(channel, service) == SERVING


async def test_a_balanced_service_serves_while_it_has_backends(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    assert await check(channel, "greeter") == NOT_SERVING
    balancer.sync(record())
    assert await check(channel, "greeter") == NOT_SERVING
    balancer.update(record("10.0.0.1"))
    assert await check(channel, "greeter.default") == SERVING


@pytest.mark.parametrize("service", ["nobody", "No Name"])
async def test_an_unknown_service_is_not_found(
    balancer: Balancer, channel: grpc.aio.Channel, service: str
) -> None:
    balancer.sync()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(channel, service)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert service in (caught.value.details() or "")


async def test_list_gives_the_overall_names(balancer: Balancer, channel: grpc.aio.Channel) -> None:
    balancer.sync(record("10.0.0.1"))
    response = await HealthStub(channel).List(pb.HealthListRequest())
    assert {name: one.status for name, one in response.statuses.items()} == dict.fromkeys(
        OVERALL, SERVING
    )


async def test_a_watch_of_the_whole_follows_sync_and_shutdown(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    call = HealthStub(channel).Watch(pb.HealthCheckRequest())
    assert (await call.read()).status == NOT_SERVING
    balancer.sync()
    assert (await call.read()).status == SERVING
    await balancer.server.stop(600)
    assert (await call.read()).status == NOT_SERVING


async def test_a_watch_of_a_service_follows_its_backends(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    call = HealthStub(channel).Watch(pb.HealthCheckRequest(service="greeter"))
    assert (await call.read()).status == NOT_SERVING
    balancer.sync()
    assert (await call.read()).status == UNKNOWN
    balancer.update(record("10.0.0.1"))
    assert (await call.read()).status == SERVING
    balancer.update(record(ports=("a", "b")))
    assert (await call.read()).status == UNKNOWN
    balancer.update(record())
    assert (await call.read()).status == NOT_SERVING


async def test_a_watch_of_a_malformed_name_says_unknown(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync()
    call = HealthStub(channel).Watch(pb.HealthCheckRequest(service="No Name"))
    assert (await call.read()).status == UNKNOWN
    call.cancel()
    assert balancer.store.watchers == 0


async def test_why_a_service_has_no_status_is_told(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record(ports=("a", "b")))
    balancer.feed.follow_absences(lambda key: f"EndpointSlice a names {key.name}")
    for service, why in (
        ("nobody", "service nobody.default is not known; EndpointSlice a names nobody"),
        ("greeter", "service greeter.default has several ports, name one of them"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, service)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert why in (caught.value.details() or "")


async def test_a_service_of_a_namespace_of_which_nothing_is_known_does_not_serve(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.feed.set_missing({"shop": "forbidden"})
    balancer.sync()
    assert await check(channel, "greeter.shop") == NOT_SERVING
