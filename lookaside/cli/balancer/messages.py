"""The balancer's answers as plain records."""

from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lookaside._pb import lookaside_pb2 as pb

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Server:
    """One backend of a list. Unknown fields are ""."""

    address: str
    weight: int
    health: str
    zone: str
    node: str
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServerList:
    """A list of backends.

    Attributes:
        service: The service in full.
        state: What the list means: ``present``, ``empty``, ``absent``, ``stale``.
        servers: The backends.
        document: The message in protobuf's JSON form.
    """

    service: str
    state: str
    servers: tuple[Server, ...]
    document: Document


@dataclass(frozen=True, slots=True)
class Summary:
    """One service that the balancer serves.

    Attributes:
        service: The service in full.
        source: Where it is from.
        state: As in `ServerList`.
        servers: How many backends it has.
        digest: The digest of its revision.
        version: The version of its revision; 0 where the source has no order.
        external_name: The DNS name that it is an alias of, if it is one.
    """

    service: str
    source: str
    state: str
    servers: int
    digest: str
    version: int
    external_name: str


@dataclass(frozen=True, slots=True)
class ExplainedEndpoint:
    """One explained endpoint: listed or not, and why.

    Attributes:
        address: HOST:PORT, or the host alone where its slice has no such port.
        listed: Whether it is in the list.
        weight: The weight that it has, or would have.
        reason: Why it is listed or not.
        target: The object behind it, such as ``Pod greeter-1``.
        zone: The zone that it runs in.
        node: The node that it runs on.
        slice: Its EndpointSlice.
        version: The resource version of that slice.
        weight_origin: Where the weight is from.
    """

    address: str
    listed: bool
    weight: int
    reason: str
    target: str
    zone: str
    node: str
    slice: str
    version: str
    weight_origin: str

    @property
    def gets_requests(self) -> bool:
        """Whether clients send it any."""
        return self.listed and self.weight > 0


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of a list.

    Attributes:
        service: The service in full.
        source: Where it is from.
        state: As in `ServerList`.
        digest: The digest of its revision.
        version: The version of its revision; 0 where the source has no order.
        notes: What holds for the list as a whole, a sentence each.
        endpoints: Every endpoint.
        document: The message in protobuf's JSON form.
    """

    service: str
    source: str
    state: str
    digest: str
    version: int
    notes: tuple[str, ...]
    endpoints: tuple[ExplainedEndpoint, ...]
    document: Document


def server_list(answer: pb.GetServersResponse | pb.WatchServersResponse) -> ServerList:
    """Read a list."""
    servers = tuple(
        Server(
            address=each.address,
            weight=each.weight,
            health=_health(each.health),
            zone=each.locality.zone,
            node=each.locality.node,
            metadata=tuple(sorted(each.metadata.items())),
        )
        for each in answer.servers
    )
    return ServerList(
        answer.service, _state(answer.state, len(servers)), servers, _document(answer)
    )


def summaries(answer: pb.ListServicesResponse) -> tuple[list[Summary], Document]:
    """Read the services, and give the whole message in protobuf's JSON form."""
    found = [
        Summary(
            service=each.service,
            source=each.source,
            state=_state(each.state, each.servers),
            servers=each.servers,
            digest=each.revision.digest,
            version=each.revision.version,
            external_name=each.external_name,
        )
        for each in answer.services
    ]
    return found, _document(answer)


def explained(answer: pb.ExplainResponse) -> Explained:
    """Read an explanation."""
    endpoints = tuple(
        ExplainedEndpoint(
            address=each.address,
            listed=each.listed,
            weight=each.weight,
            reason=each.reason,
            target=each.target,
            zone=each.locality.zone,
            node=each.locality.node,
            slice=each.slice,
            version=each.resource_version,
            weight_origin=each.weight_origin,
        )
        for each in answer.endpoints
    )
    return Explained(
        service=answer.service,
        source=answer.source,
        state=_state(answer.state, sum(each.listed for each in endpoints)),
        digest=answer.revision.digest,
        version=answer.revision.version,
        notes=tuple(answer.notes),
        endpoints=endpoints,
        document=_document(answer),
    )


def _state(state: pb.State, servers: int) -> str:
    if state == pb.STATE_UNSPECIFIED:
        return "present" if servers else "empty"
    return pb.State.Name(state).removeprefix("STATE_").lower()


def _health(health: pb.Health) -> str:
    if health == pb.HEALTH_UNSPECIFIED:
        return ""
    return pb.Health.Name(health).removeprefix("HEALTH_").lower()


def _document(message: Message) -> Document:
    return MessageToDict(message, always_print_fields_with_no_presence=True)
