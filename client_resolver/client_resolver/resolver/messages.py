"""The messages of a watch: requested by `watch_on`, decoded by `read`."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from client_resolver._pb import lookaside_pb2
from client_resolver.core.address import parse_address
from client_resolver.core.delta import Delta
from client_resolver.core.model import Endpoint, ListState, Revision, ServerList, SetAside

__all__ = ["read", "watch_on"]

_WATCH = "/lookaside.LoadBalancer/WatchServers"

T_co = TypeVar("T_co", covariant=True)


class _Channel(Protocol[T_co]):
    """Either shell's channel, as far as a watch needs it."""

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[lookaside_pb2.WatchServersRequest], bytes],
        response_deserializer: None,
        /,
    ) -> T_co: ...


def watch_on(channel: _Channel[T_co]) -> T_co:
    """Return what begins a watch on a balancer's channel. Its messages are for `read`.

    It is not the stub's method, for gRPC tells nothing of a message that it can't decode: in aio,
    there is None in its place.
    """
    return channel.unary_stream(_WATCH, lookaside_pb2.WatchServersRequest.SerializeToString, None)


def read(raw: bytes) -> ServerList | Delta:
    """Read and check a message of a watch. What is malformed in it is set aside.

    Raises:
        DecodeError: It is no message at all.
    """
    message = lookaside_pb2.WatchServersResponse.FromString(raw)
    listed = _server_list(message)
    if not message.HasField("delta"):
        return listed
    delta = message.delta
    return Delta(delta.base, listed, tuple(map(_canonical, delta.removed)))


def _server_list(message: lookaside_pb2.WatchServersResponse) -> ServerList:
    endpoints: dict[str, Endpoint] = {}
    set_aside: list[SetAside] = []
    for server in message.servers:
        try:
            endpoint = _endpoint(server)
        except ValueError as error:
            set_aside.append(SetAside(_canonical(server.address), str(error)))
            continue
        address = endpoint.address.text
        if address in endpoints:
            set_aside.append(SetAside(address, f"{server.address!r} is listed twice"))
        else:
            endpoints[address] = endpoint
    revision = message.revision
    return ServerList(
        endpoints=tuple(endpoints.values()),
        state=_state(message.state),
        revision=Revision(revision.digest, revision.version, revision.epoch),
        set_aside=tuple(set_aside),
        service_config=message.service_config,
    )


def _endpoint(server: lookaside_pb2.Server) -> Endpoint:
    if server.weight < 0:
        raise ValueError(f"{server.address!r} has the negative weight {server.weight}")
    return Endpoint(
        address=parse_address(server.address),
        weight=server.weight,
        metadata=tuple(sorted(server.metadata.items())),
        zone=server.locality.zone,
        node=server.locality.node,
    )


def _canonical(address: str) -> str:
    try:
        return parse_address(address).text
    except ValueError:
        return address


def _state(number: int) -> ListState:
    try:
        return ListState(number)
    except ValueError:
        # A state of a newer balancer: its list is taken at its word.
        return ListState.UNSPECIFIED
