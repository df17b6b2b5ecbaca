"""The values that flow through the core. All are frozen, none knows grpc."""

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from client_resolver.core.address import Address

__all__ = [
    "Code",
    "Connectivity",
    "Endpoint",
    "Failure",
    "ListState",
    "Revision",
    "ServerList",
    "SetAside",
]


class Code(StrEnum):
    """The gRPC status codes, by their names in `grpc.StatusCode`."""

    OK = "OK"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"


class Connectivity(Enum):
    """The states of a connection, by their names in `grpc.ChannelConnectivity`."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    READY = "READY"
    TRANSIENT_FAILURE = "TRANSIENT_FAILURE"
    SHUTDOWN = "SHUTDOWN"


class ListState(Enum):
    """The state of a list: `lookaside.State`."""

    UNSPECIFIED = 0
    PRESENT = 1
    EMPTY = 2
    ABSENT = 3
    STALE = 4


@dataclass(frozen=True, slots=True)
class Revision:
    """The revision of a list: `lookaside.Revision`.

    Attributes:
        digest: Equal for equal lists. Empty: the balancer gives none.
        version: Orders two lists of an epoch. 0: no order.
        epoch: The span of time within which versions may be compared.
    """

    digest: str = ""
    version: int = 0
    epoch: str = ""

    def precedes(self, other: "Revision") -> bool:
        """Whether this is known to be older than `other`."""
        return self.epoch == other.epoch and 0 < self.version < other.version


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One backend as the list has it.

    Attributes:
        address: Where to dial it.
        weight: Its share of requests relative to the others. 0: none.
        metadata: What else the balancer says of it.
        zone: The zone it runs in. Empty: unknown.
        node: The node it runs on. Empty: unknown.
    """

    address: Address
    weight: int = 1
    metadata: tuple[tuple[str, str], ...] = ()
    zone: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A server that was left out.

    Attributes:
        address: Its address, as it was sent where it is malformed.
        reason: Why, in words that name it.
    """

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServerList:
    """One whole list, checked.

    Attributes:
        endpoints: The backends, each address once.
        state: What the list means.
        revision: Which state of the list it is.
        set_aside: The servers that were left out.
        service_config: The service config, JSON, for channels with none of their own. Empty: none.
        provisional: It is used until the target itself has given a list.
    """

    endpoints: tuple[Endpoint, ...]
    state: ListState = ListState.UNSPECIFIED
    revision: Revision = field(default_factory=Revision)
    set_aside: tuple[SetAside, ...] = ()
    service_config: str = ""
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of RPCs that are not sent."""

    code: Code
    details: str
