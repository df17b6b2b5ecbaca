"""Reflection as a client of either version uses it; grpcurl itself is in tests/cluster."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as pb

from tests.api.conftest import Balancer

SERVICES = [
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "grpc.health.v1.Health",
    "grpc.lb.v1.LoadBalancer",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "lookaside.LoadBalancer",
]

versions = pytest.mark.parametrize("version", ["v1", "v1alpha"])


async def ask(
    channel: grpc.aio.Channel, version: str, request: pb.ServerReflectionRequest
) -> pb.ServerReflectionResponse:
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )
    (response,) = [response async for response in method(iter([request]))]
    assert isinstance(response, pb.ServerReflectionResponse)
    return response


@versions
async def test_the_services_are_listed(channel: grpc.aio.Channel, version: str) -> None:
    response = await ask(channel, version, pb.ServerReflectionRequest(list_services="*"))
    assert sorted(one.name for one in response.list_services_response.service) == SERVICES


@versions
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        *((service, None) for service in SERVICES),
        ("lookaside.LoadBalancer.GetServers", "lookaside/lookaside.proto"),
        ("lookaside.Server", "lookaside/lookaside.proto"),
        ("envoy.config.cluster.v3.Cluster", "envoy/config/cluster/v3/cluster.proto"),
        ("lookaside.Server.weight", "lookaside/lookaside.proto"),
        ("grpc.lb.v1.Server", "grpclb/grpclb.proto"),
        ("google.protobuf.Duration", "google/protobuf/duration.proto"),
        ("grpc.reflection.v1.ServerReflectionRequest", "grpc/reflection/v1/reflection.proto"),
    ],
)
async def test_a_symbol_is_found(
    channel: grpc.aio.Channel, version: str, symbol: str, file: str | None
) -> None:
    request = pb.ServerReflectionRequest(file_containing_symbol=symbol)
    response = await ask(channel, version, request)
    texts = response.file_descriptor_response.file_descriptor_proto
    names = [FileDescriptorProto.FromString(text).name for text in texts]
    # The files that it imports may come along.
    assert file is None or names[0] == file
    assert names


@versions
@pytest.mark.parametrize("symbol", ["lookaside.Nothing", "lookaside.LoadBalancer.Nothing", "", "."])
async def test_an_unknown_symbol_is_not_found(
    channel: grpc.aio.Channel, version: str, symbol: str
) -> None:
    request = pb.ServerReflectionRequest(file_containing_symbol=symbol)
    response = await ask(channel, version, request)
    assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_reflection_can_be_off() -> None:
    balancer = Balancer(describe=False)
    await balancer.server.start()
    async with grpc.aio.insecure_channel(balancer.address) as channel:
        # Nothing is written: grpc.aio loses the status of a call that ends while it writes.
        path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(path)()
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
    await balancer.server.stop(0)


async def test_fields_are_described_with_their_json_names(channel: grpc.aio.Channel) -> None:
    request = pb.ServerReflectionRequest(file_containing_symbol="lookaside.GetServersRequest")
    response = await ask(channel, "v1", request)
    (text,) = response.file_descriptor_response.file_descriptor_proto
    messages = FileDescriptorProto.FromString(text).message_type
    (asked,) = (message for message in messages if message.name == "GetServersRequest")
    assert [field.json_name for field in asked.field] == ["serviceName", "client", "subsetSize"]
