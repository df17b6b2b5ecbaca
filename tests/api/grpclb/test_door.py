"""The protocol as it is on the wire, by the generated stub."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from lookaside._pb import grpclb_pb2 as pb
from lookaside._pb.grpclb_pb2_grpc import LoadBalancerStub
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import GRPCLB, Bounds, StreamBounds
from lookaside.api.server import Doors
from lookaside.api.watch import WatchLimits
from lookaside.config.access import allowance
from lookaside.model import CallCounts, ServiceKey, ServiceRecord
from tests.api.conftest import KEY, Balancer, record, running

Call = grpc.aio.StreamStreamCall[pb.LoadBalanceRequest, pb.LoadBalanceResponse]


async def balance(channel: grpc.aio.Channel, name: str = "greeter") -> Call:
    call: Call = LoadBalancerStub(channel).BalanceLoad(timeout=30)
    request = pb.InitialLoadBalanceRequest(name=name)
    await call.write(pb.LoadBalanceRequest(initial_request=request))
    return call


async def read(call: Call) -> pb.LoadBalanceResponse:
    message = await call.read()
    assert isinstance(message, pb.LoadBalanceResponse)
    return message


async def listed(call: Call) -> list[str]:
    message = await read(call)
    assert message.HasField("server_list")
    return [server.load_balance_token for server in message.server_list.servers]


async def started(call: Call) -> pb.InitialLoadBalanceResponse:
    message = await read(call)
    assert message.HasField("initial_response")
    return message.initial_response


async def failed(call: Call) -> tuple[grpc.StatusCode, str]:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    pytest.fail("the stream has ended with OK")


async def refused(channel: grpc.aio.Channel, name: str) -> tuple[grpc.StatusCode, str]:
    """How a stream ends that is refused, maybe before its first message has been sent."""
    try:
        return await failed(await balance(channel, name))
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""


async def test_the_list_comes_at_once_and_after_each_change(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = await balance(channel)
    assert not (await started(call)).HasField("client_stats_report_interval")
    assert await listed(call) == ["10.0.0.1:50051"]
    balancer.update(record("10.0.0.1", "10.0.0.2"))
    assert await listed(call) == ["10.0.0.1:50051", "10.0.0.2:50051"]
    balancer.update(record())
    assert await listed(call) == []
    await balancer.until(lambda: balancer.observer.pushes == 3)


async def test_a_change_of_what_the_list_does_not_carry_is_not_written(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = await balance(channel)
    await started(call)
    assert await listed(call) == ["10.0.0.1:50051"]
    one = record("10.0.0.1")
    balancer.update(
        ServiceRecord(one.key, one.ports, one.endpoints, service_config='{"timeout": "1s"}')
    )
    balancer.update(record("10.0.0.2"), version=9)
    assert await listed(call) == ["10.0.0.2:50051"]


async def test_a_service_that_is_not_known_has_its_clients_fall_back_until_it_appears(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync()
    call = await balance(channel)
    await started(call)
    assert (await read(call)).HasField("fallback_response")
    balancer.update(record("10.0.0.1"))
    assert await listed(call) == ["10.0.0.1:50051"]
    balancer.feed.update({KEY: None}, version=10, at=0)
    assert (await read(call)).HasField("fallback_response")


async def test_nothing_is_listed_before_the_first_sync(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    code, details = await refused(channel, "greeter")
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == "the first list of test is still to come"


@pytest.mark.parametrize(
    ("name", "code", "details"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "'' is not a DNS label"),
        ("two", grpc.StatusCode.INVALID_ARGUMENT, "name one of them: grpc (80), admin (81)"),
        ("alias", grpc.StatusCode.FAILED_PRECONDITION, "dial db.example by DNS"),
    ],
)
async def test_a_refusal_says_why(
    balancer: Balancer, channel: grpc.aio.Channel, name: str, code: grpc.StatusCode, details: str
) -> None:
    balancer.sync(
        record("10.0.0.1", key=ServiceKey("default", "two"), ports=("grpc", "admin")),
        ServiceRecord(ServiceKey("default", "alias"), (), {}, external_name="db.example"),
    )
    ended = await refused(channel, name)
    assert ended[0] is code
    assert details in ended[1]
    assert balancer.observer.requests == [("BalanceLoad", code.name)]
    assert balancer.observer.watches == 0


async def test_a_first_message_that_names_nothing_is_refused(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record())
    call: Call = LoadBalancerStub(channel).BalanceLoad(timeout=30)
    await call.write(pb.LoadBalanceRequest(client_stats=pb.ClientStats()))
    code, details = await failed(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "the first message of BalanceLoad has no initial_request"


async def test_what_is_no_message_is_refused(balancer: Balancer, channel: grpc.aio.Channel) -> None:
    balancer.sync(record())
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        "/grpc.lb.v1.LoadBalancer/BalanceLoad"
    )
    call = method(timeout=30)
    await call.write(b"\xff")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_caller_gets_the_lists_of_its_namespaces_alone() -> None:
    allowed = Authorizer([allowance("serviceaccount:nobody/nobody=default")])
    async with (
        running(Balancer(authorizer=allowed)) as balancer,
        grpc.aio.insecure_channel(balancer.address) as channel,
    ):
        balancer.sync(record("10.0.0.1"))
        code, _ = await refused(channel, "greeter")
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_streams_are_counted_and_bounded() -> None:
    bounds = Bounds(grpclb=StreamBounds(total=1, per_host=1))
    async with (
        running(Balancer(bounds=bounds)) as balancer,
        grpc.aio.insecure_channel(balancer.address) as channel,
    ):
        balancer.sync(record("10.0.0.1"))
        call = await balance(channel)
        await started(call)
        # Nothing is written: grpc.aio loses the status of a call that ends while it writes.
        code, _ = await failed(LoadBalancerStub(channel).BalanceLoad(timeout=30))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert balancer.observer.refused == [(GRPCLB, "total")]
        call.cancel()
        await balancer.until(lambda: not balancer.server.calls.open(GRPCLB))
        assert balancer.observer.watches == balancer.store.watchers == 0
        assert ("BalanceLoad", "CANCELLED") in balancer.observer.requests


async def test_a_client_that_sends_no_more_is_still_told(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1"))
    call = await balance(channel)
    await call.done_writing()
    await started(call)
    assert await listed(call) == ["10.0.0.1:50051"]
    balancer.update(record())
    assert await listed(call) == []


async def test_a_client_that_asks_for_nothing_is_ended(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    call: Call = LoadBalancerStub(channel).BalanceLoad(timeout=30)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert balancer.observer.watches == 0


async def test_every_phase_ends_with_the_server() -> None:
    balancer = Balancer()
    async with grpc.aio.insecure_channel(balancer.address) as channel, running(balancer):
        balancer.sync(record("10.0.0.1"))
        call = await balance(channel)
        await started(call)
        silent: Call = LoadBalancerStub(channel).BalanceLoad(timeout=30)
        await silent.wait_for_connection()
        await balancer.until(lambda: balancer.server.calls.open(GRPCLB) == 2)
        stopping = asyncio.create_task(balancer.server.stop(30))
        ended = (grpc.StatusCode.UNAVAILABLE, "the balancer is shutting down")
        for one in (call, silent):
            assert await failed(one) == ended
        await stopping


async def test_a_stream_is_ended_by_its_age() -> None:
    limits = WatchLimits(max_age=0.05, write_timeout=30)
    async with (
        running(Balancer(limits=limits)) as balancer,
        grpc.aio.insecure_channel(balancer.address) as channel,
    ):
        balancer.sync(record("10.0.0.1"))
        call = await balance(channel)
        while await call.read() is not grpc.aio.EOF:
            pass
        assert await call.code() is grpc.StatusCode.OK


async def test_the_door_can_be_closed() -> None:
    async with (
        running(Balancer(doors=Doors(grpclb=False))) as balancer,
        grpc.aio.insecure_channel(balancer.address) as channel,
    ):
        code, _ = await failed(LoadBalancerStub(channel).BalanceLoad(timeout=30))
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
async def reporting() -> AsyncIterator[Balancer]:
    async with running(Balancer(doors=Doors(load_reports=1.5))) as balancer:
        yield balancer


async def test_load_reports_are_counted_for_services_that_are_known(reporting: Balancer) -> None:
    reporting.sync(record("10.0.0.1", ports=("grpc",)))
    stats = pb.ClientStats(
        num_calls_started=7,
        num_calls_finished=6,
        num_calls_finished_with_client_failed_to_send=1,
        num_calls_finished_known_received=3,
        calls_finished_with_drop=[
            pb.ClientStatsPerToken(load_balance_token="a", num_calls=1),
            pb.ClientStatsPerToken(load_balance_token="b", num_calls=1),
        ],
    )
    async with grpc.aio.insecure_channel(reporting.address) as channel:
        unknown = await balance(channel, "nobody")
        await unknown.write(pb.LoadBalanceRequest(client_stats=stats))
        call = await balance(channel)
        interval = (await started(call)).client_stats_report_interval
        assert interval == Duration(seconds=1, nanos=500_000_000)
        await call.write(pb.LoadBalanceRequest(client_stats=stats))
        await reporting.until(lambda: bool(reporting.observer.reported))
    assert reporting.observer.reported == [("greeter.default:grpc", CallCounts(7, 6, 1, 3, 2))]


@pytest.mark.parametrize(
    ("request_", "details"),
    [
        (
            pb.LoadBalanceRequest(client_stats=pb.ClientStats(num_calls_started=-1)),
            "client_stats counts calls below 0",
        ),
        (
            pb.LoadBalanceRequest(initial_request=pb.InitialLoadBalanceRequest(name="greeter")),
            "a message of BalanceLoad after the first has no client_stats",
        ),
    ],
)
async def test_a_report_that_is_none_ends_the_stream(
    reporting: Balancer, request_: pb.LoadBalanceRequest, details: str
) -> None:
    reporting.sync(record("10.0.0.1"))
    async with grpc.aio.insecure_channel(reporting.address) as channel:
        call = await balance(channel)
        await started(call)
        await call.write(request_)
        assert await failed(call) == (grpc.StatusCode.INVALID_ARGUMENT, details)
    assert reporting.observer.reported == []
