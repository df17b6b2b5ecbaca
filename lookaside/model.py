"""The records that flow from sources to clients. Frozen, comparable, without I/O.

They are msgspec structs: a cluster has hundreds of thousands of them, and these are several times
cheaper to make and to keep than dataclasses.
"""

import enum
import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Protocol

from msgspec import Struct

from lookaside.errors import InvalidServiceName, quoted

DEFAULT_WEIGHT = 100
MAX_WEIGHT = 1_000_000

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME_FORM = "NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]"


class ServiceKey(Struct, frozen=True, order=True, gc=False):
    """The identity of a service: its namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


class ServiceAccount(Struct, frozen=True, gc=False):
    """The ServiceAccount of a Kubernetes token."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"serviceaccount:{self.namespace}/{self.name}"


class ServiceName(Struct, frozen=True, gc=False):
    """The name that a client requests: a service and one of its ports.

    Attributes:
        key: The service.
        port: A port's name, its number in decimal, or "" for the only one.
    """

    key: ServiceKey
    port: str = ""

    def __str__(self) -> str:
        return f"{self.key}:{self.port}" if self.port else str(self.key)

    @classmethod
    def parse(
        cls, text: str, *, default_namespace: str = "default", cluster_domain: str = "cluster.local"
    ) -> "ServiceName":
        """Read a name of the form ``NAME[.NAMESPACE[.svc[.CLUSTER_DOMAIN]]][:PORT]``.

        A full name, one with the cluster domain, may end in a dot as in DNS.

        Args:
            text: The name as the client wrote it.
            default_namespace: The namespace of a name that has none.
            cluster_domain: The one cluster domain that a full name may end in.

        Raises:
            InvalidServiceName: The name is not of that form; the text says where.
        """
        host, colon, port = text.partition(":")
        if colon and not _PORT_NAME.fullmatch(port):
            raise InvalidServiceName(
                f"service name {quoted(text)}: {quoted(port)} is no port name or number"
            )
        if port.isdecimal() and not 0 < int(port) < 65536:
            raise InvalidServiceName(
                f"service name {quoted(text)}: {port} is not within 1 to 65535"
            )
        full = f".svc.{cluster_domain}"
        if host.endswith(f"{full}."):
            host = host[:-1]
        name, _, rest = host.partition(".")
        namespace, _, suffix = rest.partition(".")
        for label in (name, namespace) if rest else (name,):
            if not _LABEL.fullmatch(label):
                raise InvalidServiceName(
                    f"service name {quoted(text)}: {quoted(label)} is not a DNS label; "
                    f"expected {_NAME_FORM}"
                )
        if suffix not in ("", "svc", full[1:]) or host.endswith("."):
            raise InvalidServiceName(
                f"service name {quoted(text)}: expected {_NAME_FORM} with the cluster domain "
                f"{cluster_domain!r}"
            )
        return cls(ServiceKey(namespace or default_namespace, name), port)


class Health(enum.IntEnum):
    """An endpoint's health; the numbers are those of the wire."""

    UNSPECIFIED = 0
    READY = 1
    TERMINATING = 2


class State(enum.IntEnum):
    """The state of a list; the numbers are those of the wire."""

    PRESENT = 1
    EMPTY = 2
    ABSENT = 3
    STALE = 4


class Locality(Struct, frozen=True, order=True, gc=False):
    """The locality of an endpoint. "" is unknown."""

    zone: str = ""
    node: str = ""


class Endpoint(Struct, frozen=True, order=True, gc=False):
    """One backend of a service.

    Attributes:
        address: An IP address in its canonical form, or a host name.
        port: The port to dial, 1 to 65535.
        weight: The share of requests, relative to the list's others, 0 to `MAX_WEIGHT`.
        health: What the source says of it.
        locality: Where it runs.
        metadata: What else is known, as pairs in the order of their keys.
    """

    address: str
    port: int
    weight: int = DEFAULT_WEIGHT
    health: Health = Health.READY
    locality: Locality = Locality()
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """``HOST:PORT`` to dial, an IPv6 address in brackets."""
        return target(self.address, self.port)


class ServicePort(Struct, frozen=True, order=True, gc=False):
    """A port of a service: the name and number that clients may ask by. 0: it has no number."""

    name: str = ""
    number: int = 0


class Hints(Struct, frozen=True, gc=False):
    """The clients that one endpoint is meant for: in these zones, or on these nodes."""

    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class PortList(Struct, frozen=True, gc=False):
    """The input of all lists of one port, for every client.

    Attributes:
        endpoints: The endpoints, in ascending order.
        hints: The clients that each is meant for; none if hints don't apply to the list.
        own: By node, the list of the clients there, which get no other; a node that is missing has
            none. None: nodes make no difference.
    """

    endpoints: tuple[Endpoint, ...] = ()
    hints: tuple[Hints, ...] = ()
    own: Mapping[str, tuple[Endpoint, ...]] | None = None


class EndpointExplanation(Struct, frozen=True, order=True, gc=False):
    """The explanation of one endpoint: listed or not, and why.

    Attributes:
        address: Its address.
        port: The port to dial; 0 where its slice has no such port.
        slice: Its EndpointSlice, or "".
        listed: Whether it is in the list.
        reason: Why, in words.
        resource_version: The resource version of that slice, or "".
        weight: The weight that it has, or would have.
        weight_origin: Where the weight is from, in words.
        target: The object behind it, or "".
        locality: Where it runs.
    """

    address: str
    port: int
    slice: str
    listed: bool
    reason: str
    resource_version: str = ""
    weight: int = DEFAULT_WEIGHT
    weight_origin: str = "default"
    target: str = ""
    locality: Locality = Locality()


class Explanation(Struct, frozen=True, gc=False):
    """The explanation of a list.

    Attributes:
        endpoints: One for each endpoint that the source knows of, in ascending order.
        notes: What holds for the list as a whole, a sentence each.
    """

    endpoints: tuple[EndpointExplanation, ...]
    notes: tuple[str, ...] = ()


class Explainer(Protocol):
    """Explains a record by the data it was made of."""

    def explain(self, port: str, node: str = "") -> Explanation:
        """Tell why the list of a port, given by its name, is as it is.

        Args:
            port: The port's name.
            node: The node whose own list that is; "": it is that of all.
        """

    def known(self, port: str) -> Collection[tuple[str, int]]:
        """Return the address and port of each endpoint of a port that it explains."""


class ServiceRecord(Struct, frozen=True, gc=False, eq=False):
    """A source's record of one service.

    Attributes:
        key: The service.
        ports: Its ports, in the order of the source.
        endpoints: The endpoints of each port, by the port's name, in ascending order.
        external_name: The DNS name that the service is an alias of; it has no endpoints then.
        hints: By port name, whom each endpoint is meant for; a port whose list has no use for
            hints is left out.
        own: By port name, the list of each node that has one, where clients get the endpoints of
            their own node alone; `endpoints` are for those that name no node.
        service_config: The gRPC service config for its clients, JSON; "" for none.
        explainer: What it was made of, to be explained on demand. Records that differ in it alone
            are the same to clients.
    """

    key: ServiceKey
    ports: tuple[ServicePort, ...]
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    external_name: str = ""
    hints: Mapping[str, tuple[Hints, ...]] = {}
    own: Mapping[str, Mapping[str, tuple[Endpoint, ...]]] = {}
    service_config: str = ""
    explainer: Explainer | None = None

    def port_list(self, port: str) -> PortList:
        """Return what the lists of a port, given by its name, are made of."""
        return PortList(self.endpoints.get(port, ()), self.hints.get(port, ()), self.own.get(port))

    def serves_as(self, other: "ServiceRecord") -> bool:
        """Whether it gives every client what another record gives it."""
        return (
            self.endpoints == other.endpoints
            and self.ports == other.ports
            and self.hints == other.hints
            and self.own == other.own
            and self.service_config == other.service_config
            and self.external_name == other.external_name
        )


class Revision(Struct, frozen=True, gc=False):
    """One state of one list.

    Attributes:
        digest: A hash of the list's state and endpoints, in hexadecimal, the same on every replica.
        version: The source's version up to which the list is known to hold; 0 if it has no order.
        epoch: Versions are ordered within one epoch only.
    """

    digest: str
    version: int = 0
    epoch: str = ""


class Snapshot(Struct, frozen=True, gc=False):
    """The list of one port of one service at one moment.

    Attributes:
        service: The name in full, with the port's name where it has one.
        source: The name of the source that it is from; "" for a service that none knows.
        state: What the list means.
        endpoints: The backends, in ascending order.
        revision: Which state of the list this is.
        service_config: The gRPC service config for its clients, JSON; "" for none.
        external_name: The DNS name that the service is an alias of, if it is one.
    """

    service: ServiceName
    source: str
    state: State
    endpoints: tuple[Endpoint, ...]
    revision: Revision
    service_config: str = ""
    external_name: str = ""


class CallCounts(Struct, frozen=True, gc=False):
    """What the calls of one client to one service came to, since it reported them last.

    Attributes:
        started: Calls that began.
        finished: Calls that ended.
        not_sent: Those of them that could not be sent to a backend.
        received: Those of them that a backend is known to have received.
        dropped: Those of them that were dropped, as the list said.
    """

    started: int = 0
    finished: int = 0
    not_sent: int = 0
    received: int = 0
    dropped: int = 0


def target(address: str, port: int) -> str:
    """Return ``HOST:PORT`` to dial, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def canonical_host(text: str) -> str:
    """Return an IP address in its canonical form, a host name in lower case.

    Raises:
        ValueError: It is neither.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        labels = text.lower().removesuffix(".").split(".")
        if labels[-1].isdecimal() or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(f"{text!r} is neither an IP address nor a host name") from None
        return ".".join(labels)
