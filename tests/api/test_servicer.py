import asyncio

import grpc
import pytest

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside.api.watch import WatchLimits
from lookaside.model import Endpoint, Health, Locality, ServiceKey, ServicePort, ServiceRecord
from tests.api.conftest import KEY, Balancer, Watch, record


async def get(channel: grpc.aio.Channel, name: str) -> pb.GetServersResponse:
    request = pb.GetServersRequest(service_name=name)
    response: pb.GetServersResponse = await LoadBalancerStub(channel).GetServers(request)
    return response


async def read(call: Watch) -> pb.WatchServersResponse:
    message = await call.read()
    assert isinstance(message, pb.WatchServersResponse)
    return message


def addresses(response: pb.GetServersResponse | pb.WatchServersResponse) -> list[str]:
    return [server.address for server in response.servers]


async def test_get_tells_all_that_is_known_of_each_server(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    endpoints = (
        Endpoint(
            "10.0.0.1",
            50051,
            weight=50,
            locality=Locality("eu-1a", "node-1"),
            metadata=(("version", "v2"),),
        ),
        Endpoint("fd00::1", 50051, health=Health.TERMINATING),
    )
    balancer.sync(ServiceRecord(KEY, (ServicePort("grpc", 80),), {"grpc": endpoints}))
    response = await get(channel, "greeter")
    digest = response.revision.digest
    assert len(digest) == 32
    assert response == pb.GetServersResponse(
        servers=[
            pb.Server(
                address="10.0.0.1:50051",
                weight=50,
                metadata={"version": "v2"},
                locality=pb.Locality(zone="eu-1a", node="node-1"),
                health=pb.HEALTH_READY,
            ),
            pb.Server(
                address="[fd00::1]:50051",
                weight=100,
                health=pb.HEALTH_TERMINATING,
            ),
        ],
        revision=pb.Revision(digest=digest, version=7, epoch="test"),
        state=pb.STATE_PRESENT,
        service="greeter.default:grpc",
    )


@pytest.mark.parametrize(
    ("name", "code", "details"),
    [
        ("nobody", grpc.StatusCode.NOT_FOUND, "service nobody.default is not known"),
        ("No Name", grpc.StatusCode.INVALID_ARGUMENT, "'No Name' is not a DNS label"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "'' is not a DNS label"),
        ("two", grpc.StatusCode.INVALID_ARGUMENT, "name one of them: grpc (80), admin (81)"),
        ("two:web", grpc.StatusCode.INVALID_ARGUMENT, "it has: grpc (80), admin (81)"),
        ("alias", grpc.StatusCode.FAILED_PRECONDITION, "dial db.example by DNS"),
    ],
)
async def test_a_refusal_says_why(
    balancer: Balancer,
    channel: grpc.aio.Channel,
    name: str,
    code: grpc.StatusCode,
    details: str,
) -> None:
    balancer.sync(
        record("10.0.0.1", key=ServiceKey("default", "two"), ports=("grpc", "admin")),
        ServiceRecord(ServiceKey("default", "alias"), (), {}, external_name="db.example"),
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await get(channel, name)
    assert caught.value.code() is code
    assert details in (caught.value.details() or "")
    assert balancer.observer.requests == [("GetServers", code.name)]


async def test_nothing_is_answered_before_the_first_sync(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    stub = LoadBalancerStub(channel)
    for call in (
        stub.GetServers(pb.GetServersRequest(service_name="greeter")),
        stub.ListServices(pb.ListServicesRequest()),
        balancer.watch(channel, "greeter").read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the first list of test is still to come"


async def test_an_empty_service_is_an_answer(balancer: Balancer, channel: grpc.aio.Channel) -> None:
    balancer.sync(record())
    response = await get(channel, "greeter")
    assert (response.state, addresses(response)) == (pb.STATE_EMPTY, [])


async def test_the_services_are_listed(balancer: Balancer, channel: grpc.aio.Channel) -> None:
    balancer.sync(
        record("10.0.0.1", "10.0.0.2"), record(key=ServiceKey("shop", "idle"), ports=("a", "b"))
    )
    stub = LoadBalancerStub(channel)
    response = await stub.ListServices(pb.ListServicesRequest())
    summaries = [(s.service, s.state, s.servers, s.source) for s in response.services]
    assert summaries == [
        ("greeter.default", pb.STATE_PRESENT, 2, "test"),
        ("idle.shop:a", pb.STATE_EMPTY, 0, "test"),
        ("idle.shop:b", pb.STATE_EMPTY, 0, "test"),
    ]
    response = await stub.ListServices(pb.ListServicesRequest(namespace="shop"))
    assert [s.service for s in response.services] == ["idle.shop:a", "idle.shop:b"]


async def test_a_watch_gives_the_list_at_once_and_after_each_change(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = balancer.watch(channel, "greeter")
    first = await read(call)
    assert addresses(first) == ["10.0.0.1:50051"]
    balancer.update(record("10.0.0.1", "10.0.0.2"))
    second = await read(call)
    assert addresses(second) == ["10.0.0.1:50051", "10.0.0.2:50051"]
    assert first.revision.digest != second.revision.digest
    assert second.revision.version == 8
    assert second.SerializeToString(deterministic=True) == (
        await get(channel, "greeter")
    ).SerializeToString(deterministic=True)


async def test_a_watch_of_an_unknown_service_says_so_and_delivers_when_it_appears(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync()
    call = balancer.watch(channel, "greeter")
    assert (await read(call)).state == pb.STATE_ABSENT
    balancer.update(record("10.0.0.1"))
    response = await read(call)
    assert (response.state, addresses(response)) == (pb.STATE_PRESENT, ["10.0.0.1:50051"])


async def test_a_late_watch_is_told_the_version_up_to_which_the_list_holds(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    before = await get(channel, "greeter")
    balancer.feed.advance(99)
    after = await read(balancer.watch(channel, "greeter"))
    assert (before.revision.version, after.revision.version) == (7, 99)
    assert before.revision.digest == after.revision.digest
    assert before.servers == after.servers


async def test_a_watch_ends_when_its_name_can_no_longer_be_answered(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = balancer.watch(channel, "greeter")
    await read(call)
    balancer.update(record("10.0.0.1", ports=("a", "b")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert balancer.observer.requests == [("WatchServers", "INVALID_ARGUMENT")]


async def test_a_cancelled_watch_leaves_nothing_behind(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    gone = asyncio.Event()
    balancer.observer.watch_closed = gone.set  # type: ignore[method-assign]
    call = balancer.watch(channel, "greeter")
    await read(call)
    assert balancer.store.watchers == 1
    call.cancel()
    await asyncio.wait_for(gone.wait(), 20)
    assert balancer.store.watchers == 0
    assert balancer.observer.requests == [("WatchServers", "CANCELLED")]


async def test_an_old_watch_is_ended_for_its_client_to_reconnect() -> None:
    balancer = Balancer(limits=WatchLimits(max_age=0.05, write_timeout=30))
    balancer.sync(record("10.0.0.1"))
    await balancer.server.start()
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        call = balancer.watch(channel, "greeter")
        await read(call)
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
    await balancer.server.stop(0)


async def test_a_reader_that_takes_nothing_is_ended_and_stalls_nobody() -> None:
    balancer = Balancer(limits=WatchLimits(max_age=0, write_timeout=1))
    balancer.sync(record())
    await balancer.server.start()
    large = [f"10.{a}.{b}.1" for a in range(24) for b in range(250)]
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        stuck, reading = (balancer.watch(channel, "greeter") for _ in range(2))
        await read(stuck)
        version = 8
        while balancer.observer.requests != [("WatchServers", "DEADLINE_EXCEEDED")]:
            await read(reading)
            balancer.update(record(*large[version % 2 :]), version)
            version += 1
        assert (await read(reading)).revision.version == version - 1
        assert balancer.store.watchers == 1
    await balancer.server.stop(0)


async def test_a_shutdown_ends_watches_at_once_and_lets_calls_finish(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = balancer.watch(channel, "greeter")
    await read(call)
    await balancer.server.stop(600)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "the balancer is shutting down"


async def test_more_watches_than_grpc_accepts_by_default_are_all_answered(
    balancer: Balancer,
) -> None:
    balancer.sync(record("10.0.0.1"))
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(balancer.address, options) for _ in range(15)]
    calls = [balancer.watch(channel, "greeter") for channel in channels for _ in range(200)]
    responses = await asyncio.gather(*map(read, calls))
    assert {tuple(addresses(response)) for response in responses} == {("10.0.0.1:50051",)}
    balancer.update(record("10.0.0.2"))
    responses = await asyncio.gather(*map(read, calls))
    assert {tuple(addresses(response)) for response in responses} == {("10.0.0.2:50051",)}
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
