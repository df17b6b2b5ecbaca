"""An ADS client that does what it is told, to see each message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar, cast

import grpc
from google.protobuf.struct_pb2 import Struct

from lookaside._pb.xds import core_pb2, endpoint_pb2
from lookaside._pb.xds import discovery_pb2 as pb
from lookaside.api.xds.door import DELTA, SERVICE, STATE_OF_THE_WORLD
from lookaside.api.xds.resource import Type

Request = TypeVar("Request", pb.DiscoveryRequest, pb.DeltaDiscoveryRequest)
Response = TypeVar("Response", pb.DiscoveryResponse, pb.DeltaDiscoveryResponse)

CORE = "gRPC C-core linux"


def node(agent: str = CORE, in_zone: str = "", **metadata: str) -> core_pb2.Node:
    fields = Struct()
    fields.update({f"lookaside.dev/{key}": value for key, value in metadata.items()})
    return core_pb2.Node(
        id="test",
        user_agent_name=agent,
        locality=core_pb2.Locality(zone=in_zone),
        metadata=fields,
    )


class Ads(Generic[Request, Response]):
    """One open stream."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Request, Response]) -> None:
        self.call: grpc.aio.StreamStreamCall[Request, Response] = call

    async def send(self, request: Request) -> None:
        await self.call.write(request)

    async def read(self) -> Response:
        async with asyncio.timeout(20):
            response = await self.call.read()
        # At the end, what is read is a mark of gRPC's.
        assert response is not grpc.aio.EOF, await self.call.details()
        return cast("Response", response)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(20):
            return await self.call.code(), await self.call.details()


@asynccontextmanager
async def state_of_the_world(
    address: str,
) -> AsyncIterator[Ads[pb.DiscoveryRequest, pb.DiscoveryResponse]]:
    async with grpc.aio.insecure_channel(address) as channel:
        method: grpc.aio.StreamStreamMultiCallable[pb.DiscoveryRequest, pb.DiscoveryResponse] = (
            channel.stream_stream(
                f"/{SERVICE}/{STATE_OF_THE_WORLD}",
                request_serializer=pb.DiscoveryRequest.SerializeToString,
                response_deserializer=pb.DiscoveryResponse.FromString,
            )
        )
        yield Ads(method())


@asynccontextmanager
async def delta(
    address: str,
) -> AsyncIterator[Ads[pb.DeltaDiscoveryRequest, pb.DeltaDiscoveryResponse]]:
    async with grpc.aio.insecure_channel(address) as channel:
        method: grpc.aio.StreamStreamMultiCallable[
            pb.DeltaDiscoveryRequest, pb.DeltaDiscoveryResponse
        ] = channel.stream_stream(
            f"/{SERVICE}/{DELTA}",
            request_serializer=pb.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=pb.DeltaDiscoveryResponse.FromString,
        )
        yield Ads(method())


def addresses(response: pb.DiscoveryResponse) -> list[str]:
    """Return the addresses of an EDS response."""
    (packed,) = response.resources
    assert packed.type_url == Type.ENDPOINTS.url
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(packed.value)
    return [
        one.endpoint.address.socket_address.address
        for group in assignment.endpoints
        for one in group.lb_endpoints
    ]
