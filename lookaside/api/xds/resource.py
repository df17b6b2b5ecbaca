"""Resources as sessions send them: named, versioned, and encoded once for all streams."""

from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property

import xxhash
from msgspec import Struct

from lookaside._pb.xds import discovery_pb2 as pb

_PREFIX = "type.googleapis.com/"


class Type(IntEnum):
    """The types of resources, in the order in which changes are sent.

    What a resource refers to goes before it: clusters and their endpoints before the listeners and
    routes that lead to them ("Eventual consistency considerations" of Envoy's xds_protocol).
    """

    CLUSTER = 0
    ENDPOINTS = 1
    LISTENER = 2
    ROUTE = 3

    @property
    def url(self) -> str:
        """The type URL."""
        return _URLS[self]

    @property
    def whole(self) -> bool:
        """Whether, by state of the world, what a response lacks is gone: it has all that exist."""
        return self in (Type.CLUSTER, Type.LISTENER)


_URLS = {
    Type.CLUSTER: f"{_PREFIX}envoy.config.cluster.v3.Cluster",
    Type.ENDPOINTS: f"{_PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment",
    Type.LISTENER: f"{_PREFIX}envoy.config.listener.v3.Listener",
    Type.ROUTE: f"{_PREFIX}envoy.config.route.v3.RouteConfiguration",
}
TYPES = {url: each for each, url in _URLS.items()}
"""The types by their URLs."""


class Resource:
    """One resource.

    Args:
        kind: Its type.
        name: The name that it was asked for by.
        body: Its bytes.

    Attributes:
        version: A digest of its bytes, the same on every replica.
    """

    def __init__(self, kind: Type, name: str, body: bytes) -> None:
        self.kind = kind
        self.name = name
        self.version = xxhash.xxh3_64_hexdigest(body)
        self.body = body

    def __repr__(self) -> str:
        return f"<Resource {self.kind.name} {self.name} {self.version}>"

    @cached_property
    def entry(self) -> bytes:
        """Its bytes as one of those of a DiscoveryResponse: messages merge by concatenation."""
        message = pb.DiscoveryResponse()
        message.resources.add(type_url=self.kind.url, value=self.body)
        return message.SerializeToString()

    @cached_property
    def delta_entry(self) -> bytes:
        """Its bytes as one of those of a DeltaDiscoveryResponse."""
        message = pb.DeltaDiscoveryResponse()
        added = message.resources.add(name=self.name, version=self.version)
        added.resource.type_url, added.resource.value = self.kind.url, self.body
        return message.SerializeToString()

    @cached_property
    def alone(self) -> bytes:
        """The bytes of a DiscoveryResponse with this resource alone."""
        return self.entry + head(self.kind, self.version)

    @cached_property
    def delta_alone(self) -> bytes:
        """The bytes of a DeltaDiscoveryResponse with this resource alone."""
        return self.delta_entry + delta_head(self.kind, self.version)


class Absent(Struct, frozen=True, gc=False):
    """A resource that there is not.

    Attributes:
        reason: Why, in words.
        code: The number of the gRPC status code that the native door answers with.
    """

    reason: str
    code: int


class Unknown(Struct, frozen=True, gc=False):
    """A resource that may or may not exist: its source is lost, say."""


UNKNOWN = Unknown()

Outcome = Resource | Absent | Unknown | None
"""What is known under a name; None: it has not been looked at yet."""


class Response(Struct, frozen=True):
    """What a session is to send.

    Attributes:
        kind: The type.
        nonce: The version too: a digest of what is sent.
        resources: What is sent.
        absent: The names that don't exist, and why.
    """

    kind: Type
    nonce: str
    resources: Sequence[Resource]
    absent: Sequence[tuple[str, Absent]] = ()

    def encode(self) -> bytes:
        """Return a DiscoveryResponse."""
        if len(self.resources) == 1 and not self.absent:
            return self.resources[0].alone
        parts = [one.entry for one in self.resources]
        rest = pb.DiscoveryResponse(resource_errors=[_error(*one) for one in self.absent])
        parts += [rest.SerializeToString(), head(self.kind, self.nonce)]
        return b"".join(parts)

    def encode_delta(self) -> bytes:
        """Return a DeltaDiscoveryResponse."""
        if len(self.resources) == 1 and not self.absent:
            return self.resources[0].delta_alone
        parts = [one.delta_entry for one in self.resources]
        rest = pb.DeltaDiscoveryResponse(
            removed_resources=[name for name, _ in self.absent],
            resource_errors=[_error(*one) for one in self.absent],
        )
        parts += [rest.SerializeToString(), delta_head(self.kind, self.nonce)]
        return b"".join(parts)


def response(
    kind: Type, resources: Sequence[Resource], absent: Sequence[tuple[str, Absent]] = ()
) -> Response:
    """Make a response. Its nonce is the version of its one resource, else a digest of them all."""
    if len(resources) == 1 and not absent:
        return Response(kind, resources[0].version, resources)
    hashed = xxhash.xxh3_64()
    for one in resources:
        hashed.update(f"{one.name}\0{one.version}\n".encode())
    for name, _ in absent:
        hashed.update(f"{name}\0\n".encode())
    return Response(kind, hashed.hexdigest(), resources, absent)


def head(kind: Type, nonce: str) -> bytes:
    """Return what is not resources of a DiscoveryResponse."""
    message = pb.DiscoveryResponse(version_info=nonce, type_url=kind.url, nonce=nonce)
    return message.SerializeToString()


def delta_head(kind: Type, nonce: str) -> bytes:
    """Return what is not resources of a DeltaDiscoveryResponse."""
    message = pb.DeltaDiscoveryResponse(system_version_info=nonce, type_url=kind.url, nonce=nonce)
    return message.SerializeToString()


def _error(name: str, absent: Absent) -> pb.ResourceError:
    return pb.ResourceError(
        resource_name=pb.ResourceName(name=name),
        error_detail=pb.Status(code=absent.code, message=absent.reason),
    )
