"""Whatever bytes a caller sends as a request, it is told what is wrong, and others go on."""

import asyncio
from typing import Final

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from lookaside._pb.xds import discovery_pb2 as xds_pb
from lookaside.api.xds.door import SERVICE
from lookaside.api.xds.resource import Type
from tests.api.conftest import Balancer, record
from tests.api.xds.raw import node
from tests.test_fuzz import fuzz, garbled

CLIENT: Final = pb.Client(zone="eu-1a", node="worker-1")
REQUESTS: Final = {
    "GetServers": pb.GetServersRequest(service_name="greeter:80", client=CLIENT, subset_size=2),
    "WatchServers": pb.WatchServersRequest(
        service_name="greeter.default", client=CLIENT, subset_size=2
    ),
    "ListServices": pb.ListServicesRequest(namespace="default"),
    "Explain": pb.ExplainRequest(service_name="greeter"),
    "StreamAggregatedResources": xds_pb.DiscoveryRequest(
        type_url=Type.ENDPOINTS.url,
        resource_names=["greeter:80", "greeter"],
        node=node(in_zone="eu-1a", node="worker-1"),
    ),
    "DeltaAggregatedResources": xds_pb.DeltaDiscoveryRequest(
        type_url=Type.CLUSTER.url,
        resource_names_subscribe=["greeter:80", "greeter"],
        initial_resource_versions={"greeter": "1"},
        node=node(in_zone="eu-1a", node="worker-1"),
    ),
}
OWN: Final = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


def examples(original: bytes) -> list[bytes]:
    found: list[bytes] = []

    @fuzz
    @given(garbled(original) | st.binary(max_size=50))
    def collect(raw: bytes) -> None:
        found.append(raw)

    collect()
    return found


async def ask(channel: grpc.aio.Channel, method: str, raw: bytes) -> None:
    path = f"/lookaside.LoadBalancer/{method}"
    if method.endswith("AggregatedResources"):
        talk: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"/{SERVICE}/{method}"
        )
        talking = talk()
        await talking.write(raw)
        await talking.done_writing()
        async for _ in talking:
            pass
    elif method == "WatchServers":
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        stream = watch(raw)
        await stream.read()
        stream.cancel()
    else:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await call(raw)


@pytest.mark.parametrize("method", REQUESTS)
async def test_whatever_bytes_are_a_request_the_caller_is_told(
    balancer: Balancer, channel: grpc.aio.Channel, method: str
) -> None:
    balancer.sync(record("10.0.0.1", "10.0.0.2"))
    codes = set()
    for raw in await asyncio.to_thread(examples, REQUESTS[method].SerializeToString()):
        try:
            async with asyncio.timeout(20):
                await ask(channel, method, raw)
            codes.add(grpc.StatusCode.OK)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
    assert codes <= OWN
    assert grpc.StatusCode.INVALID_ARGUMENT in codes
    counted = {code for name, code in balancer.observer.requests if name == method}
    assert not counted & {"UNKNOWN", "INTERNAL"}
    good = await LoadBalancerStub(channel).GetServers(pb.GetServersRequest(service_name="greeter"))
    assert len(good.servers) == 2
