"""Between the wire's messages and the core's values."""

from client_resolver._pb import lookaside_pb2
from client_resolver.core.address import parse_address
from client_resolver.core.delta import Delta
from client_resolver.core.model import Endpoint, ListState, Revision, ServerList, SetAside

__all__ = ["read"]


def read(message: lookaside_pb2.WatchServersResponse) -> ServerList | Delta:
    """Check a message of a watch. What is malformed in it is set aside, the rest is served."""
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
