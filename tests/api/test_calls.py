"""Every method of every door: requests that can't be read, and how many streams are taken."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside._pb.xds import discovery_pb2 as xds_pb
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import HEALTH, REFLECTION, WATCHES, XDS, Bounds, StreamBounds, host
from lookaside.api.watch import WatchLimits
from lookaside.api.xds.resource import Type
from lookaside.config.access import allowance
from tests.api.conftest import Balancer, record, running
from tests.faults import frames

UNARY = [
    "/lookaside.LoadBalancer/GetServers",
    "/lookaside.LoadBalancer/ListServices",
    "/lookaside.LoadBalancer/Explain",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
]
WATCH = "/lookaside.LoadBalancer/WatchServers"
STREAMS = [
    WATCH,
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
]
DOORS = dict(zip(STREAMS, [WATCHES, HEALTH, REFLECTION, REFLECTION, XDS, XDS], strict=True))
REQUESTS = dict.fromkeys(STREAMS, b"") | {
    STREAMS[0]: b"\n\x07greeter",
    STREAMS[2]: b"\x3a\x00",
    STREAMS[3]: b"\x3a\x00",
    STREAMS[4]: xds_pb.DiscoveryRequest(
        type_url=Type.ENDPOINTS.url, resource_names=["greeter"]
    ).SerializeToString(),
    STREAMS[5]: xds_pb.DeltaDiscoveryRequest(
        type_url=Type.ENDPOINTS.url, resource_names_subscribe=["greeter"]
    ).SerializeToString(),
}


async def call(channel: grpc.aio.Channel, method: str, request: bytes) -> tuple[str, str]:
    """Call a method with these bytes; return the code and the details that it ends with."""

    async def alone() -> AsyncIterator[bytes]:
        yield request

    ended: grpc.aio.Call
    if method in STREAMS:
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        ended = stream(alone(), timeout=20)
    else:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        ended = unary(request, timeout=20)
    return (await ended.code()).name, await ended.details()


@pytest.mark.parametrize("method", UNARY + STREAMS)
async def test_a_request_that_cannot_be_read_is_an_invalid_argument_and_is_counted(
    balancer: Balancer,
    channel: grpc.aio.Channel,
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    balancer.sync(record("10.0.0.1"))
    with caplog.at_level(logging.DEBUG):
        code, details = await call(channel, method, b"\n\xff\xff\xff")
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("the request's 4 bytes are no ")
    assert balancer.observer.requests == [(method.rpartition("/")[2], code)]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("method", ["GetServers", "WatchServers", "Explain"])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a" * 10_000, "(10000 characters)"),
        ("\0\r\n" * 3_000, r"'\x00\r\n"),
        ("greeter:" + "p" * 10_000, "is no port name"),
        ("greeter." + "n" * 10_000, "is not a DNS label"),
        ("greeter.default." + "\u20ac" * 10_000, "expected NAME"),
    ],
)
async def test_an_error_quotes_the_beginning_of_what_was_sent(
    balancer: Balancer, channel: grpc.aio.Channel, method: str, name: str, part: str
) -> None:
    balancer.sync(record("10.0.0.1"))
    request = pb.GetServersRequest(service_name=name).SerializeToString()
    code, details = await call(channel, f"/lookaside.LoadBalancer/{method}", request)
    assert code == "INVALID_ARGUMENT"
    assert part in details
    assert len(details) < 1_000
    assert details.isprintable()


async def test_neither_health_nor_a_list_of_a_namespace_quotes_all_that_was_sent() -> None:
    async with running(Balancer(authorizer=Authorizer([allowance("*=shop")]))) as balancer:
        balancer.sync()
        async with grpc.aio.insecure_channel(balancer.address) as channel:
            long = pb.GetServersRequest(service_name="\0" * 10_000).SerializeToString()
            code, details = await call(channel, UNARY[3], long)
            assert (code, len(details) < 1_000) == ("NOT_FOUND", True)


async def test_a_service_of_very_many_ports_names_some_of_them(
    balancer: Balancer, channel: grpc.aio.Channel
) -> None:
    balancer.sync(record("10.0.0.1", ports=tuple(f"a-rather-long-name-{n}" for n in range(500))))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await LoadBalancerStub(channel).GetServers(pb.GetServersRequest(service_name="greeter"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "a-rather-long-name-19 (99) and 480 more" in (caught.value.details() or "")


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize("bound", ["host", "total"])
async def test_no_more_streams_are_taken_than_a_door_has_room_for(method: str, bound: str) -> None:
    few = StreamBounds(2, 5) if bound == "total" else StreamBounds(5, 2)
    async with running(
        Balancer(bounds=Bounds(watches=few, health=few, reflection=few, xds=few))
    ) as balancer:
        balancer.sync(record("10.0.0.1"))
        calls = balancer.server.calls
        async with frames.connected(balancer.server.port) as connection:
            for stream in (1, 3, 5):
                await connection.send(frames.call(method, REQUESTS[method], stream, ends=False))
            # Two are answered, and one is refused.
            await connection.until(
                lambda received: (
                    received.get(frames.HEADERS, 0) >= 3 and received.get(frames.DATA, 0) >= 2
                )
            )
            assert balancer.observer.refused == [(DOORS[method], bound)]
            assert ("RESOURCE_EXHAUSTED") in {code for _, code in balancer.observer.requests}
            assert balancer.observer.at_doors == {DOORS[method]: 1}
            assert calls.open(DOORS[method]) == 2
            await connection.send(frames.frame(frames.RST_STREAM, frames.CANCEL, stream=1))
            await balancer.until(lambda: calls.open(DOORS[method]) == 1)
            await connection.send(frames.call(method, REQUESTS[method], 7, ends=False))
            await connection.until(lambda received: received.get(frames.DATA, 0) >= 3)
        async with asyncio.timeout(20):
            while calls.open(DOORS[method]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert balancer.observer.at_doors == {DOORS[method]: 0}


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_whose_first_message_is_not_taken_hears_how_it_ended_when_it_reads(
    method: str,
) -> None:
    async with running(Balancer(limits=WatchLimits(max_age=0, write_timeout=0.2))) as balancer:
        balancer.sync(record("10.0.0.1"))
        unread = frames.PREFACE + frames.settings(_4=0)
        async with frames.connected(balancer.server.port, unread) as connection:
            await connection.send(frames.call(method, REQUESTS[method], 1, ends=False))
            await balancer.until(lambda: bool(balancer.observer.requests))
            assert balancer.observer.requests == [(method.rpartition("/")[2], "DEADLINE_EXCEEDED")]
            assert balancer.store.watchers == 0
            assert balancer.server.calls.open(DOORS[method]) == 1
            window = frames.frame(frames.WINDOW_UPDATE, b"\0\1\0\0", stream=1)
            await connection.send(window)
            # The headers, what was not read, and the trailers.
            await connection.until(
                lambda received: (received.get(frames.HEADERS), received.get(frames.DATA)) == (2, 1)
            )
            await balancer.until(lambda: not balancer.server.calls.open(DOORS[method]))


@pytest.mark.parametrize(
    ("method", "phase"),
    [
        *(
            (method, phase)
            for method in (*STREAMS[:3], *STREAMS[4:])
            for phase in ("idle", "unread")
        ),
        (WATCH, "cut"),
    ],
)
async def test_a_stop_does_not_wait_for_streams_whatever_their_phase(
    method: str, phase: str
) -> None:
    async with running(
        Balancer(limits=WatchLimits(max_age=0, write_timeout=0.1 if phase == "cut" else 600))
    ) as balancer:
        balancer.sync(record("10.0.0.1"))
        first = frames.PREFACE + frames.settings(_4=65_535 if phase == "idle" else 0)
        async with frames.connected(balancer.server.port, first) as connection:
            await connection.send(frames.call(method, REQUESTS[method], 1, ends=False))
            answered = frames.DATA if phase == "idle" else frames.HEADERS
            await connection.until(lambda received: received.get(answered, 0) >= 1)
            if phase == "cut":
                await balancer.until(lambda: bool(balancer.observer.requests))
            async with asyncio.timeout(20):
                await balancer.server.stop(600)
            await asyncio.wait_for(connection.ended.wait(), 20)
        assert balancer.store.watchers == 0


@pytest.mark.parametrize("method", STREAMS[:3] + STREAMS[4:])
async def test_a_stream_that_is_never_read_is_gone_with_its_connection_s_age(method: str) -> None:
    async with running(Balancer(limits=WatchLimits(max_age=0.3, write_timeout=0.1))) as balancer:
        balancer.sync(record("10.0.0.1"))
        unread = frames.PREFACE + frames.settings(_4=0)
        async with frames.connected(balancer.server.port, unread) as connection:
            await connection.send(frames.call(method, REQUESTS[method], 1, ends=False))
            await asyncio.wait_for(connection.ended.wait(), 20)
            await balancer.until(lambda: not balancer.server.calls.open(DOORS[method]))


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:10.0.0.1:40312", "ipv4:10.0.0.1"),
        ("ipv6:%5Bfd00::1%5D:40312", "ipv6:%5Bfd00::1%5D"),
        ("unix:", "unix"),
        ("strange", "strange"),
    ],
)
def test_the_host_of_a_peer_is_its_name_without_the_port(peer: str, expected: str) -> None:
    assert host(peer) == expected
