"""Who a client of xDS is: what it is built of, and so what it takes, and where it runs.

What each takes was measured with grpcio 1.85, grpc-go 1.85, grpc-java 1.75, grpc-js-xds 1.14 and
Envoy 1.40; what they refuse, they refuse as a whole.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from lookaside._pb.xds import core_pb2 as pb
from lookaside.policy.topology import Place

ZONE = "lookaside.dev/zone"
NODE = "lookaside.dev/node"
SERVICES = "lookaside.dev/services"
LISTENERS = "lookaside.dev/listeners"


class ClientKind(StrEnum):
    """What a client is built of."""

    CORE = "c-core"
    GO = "go"
    JAVA = "java"
    NODE = "node"
    ENVOY = "envoy"
    OTHER = "other"

    @property
    def proxy(self) -> bool:
        """Whether it is an Envoy: it uses the weights of endpoints, and listens on ports."""
        return self is ClientKind.ENVOY

    @property
    def sizes_rings(self) -> bool:
        """Whether it takes the size of a ring."""
        return self in (ClientKind.CORE, ClientKind.GO, ClientKind.JAVA, ClientKind.ENVOY)


_AGENTS = {
    "gRPC C-core": ClientKind.CORE,
    "gRPC Go": ClientKind.GO,
    "gRPC Java": ClientKind.JAVA,
    "grpc-node-xds": ClientKind.NODE,
    "envoy": ClientKind.ENVOY,
}


class Client(Struct, frozen=True):
    """Who opened a stream, as it says itself.

    Attributes:
        id: The name of its node in xDS.
        kind: What it is built of.
        place: Where it runs.
        services: The names that it gets when it asks for all.
        listeners: By name, the port of 127.0.0.1 that an Envoy is to listen on for it.
    """

    id: str = ""
    kind: ClientKind = ClientKind.OTHER
    place: Place = Place()
    services: tuple[str, ...] = ()
    listeners: Mapping[str, int] = {}


def kind_of(agent: str) -> ClientKind:
    """Return what a client is built of, by what it says: "gRPC C-core linux", say."""
    return next(
        (kind for name, kind in _AGENTS.items() if agent.startswith(name)), ClientKind.OTHER
    )


def client(node: pb.Node) -> Client:
    """Read who opened a stream.

    The zone is its locality's or, like the name of its Kubernetes node, the names of the services
    and the ports to listen on, in its metadata.
    """
    metadata = node.metadata.fields
    listed = metadata[SERVICES].list_value.values if SERVICES in metadata else ()
    ports = metadata[LISTENERS].struct_value.fields if LISTENERS in metadata else {}
    names = [*(one.string_value for one in listed), *ports]
    return Client(
        id=node.id,
        kind=kind_of(node.user_agent_name),
        place=Place(node.locality.zone or _text(node, ZONE), _text(node, NODE)),
        services=tuple(dict.fromkeys(filter(None, names))),
        listeners={
            name: int(port.number_value)
            for name, port in ports.items()
            if 1 <= port.number_value < 65536  # which NaN is not
        },
    )


def _text(node: pb.Node, key: str) -> str:
    # To look for a key in a map of messages is to put it there.
    fields = node.metadata.fields
    return fields[key].string_value if key in fields else ""
