"""One backend of a channel, and what a shell is told to do with its connection."""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar
from weakref import ref

from client_resolver.core.load import LoadReport
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.outlier import Host
from client_resolver.core.slots import Live, Slot

__all__ = ["Action", "Backend", "Close", "Connect", "Explain", "Open", "Place"]

H = TypeVar("H")


class Backend(Generic[H]):
    """One backend and its connection, from its arrival in the list until it has drained.

    Attributes:
        endpoint: What the list says of it.
        handle: The shell's connection. None while there is none.
        opened: It has a connection, in whatever state: it was opened and not closed since.
        accepting: It may get new RPCs once it is ready. To close the connection, this is cleared
            before `in_flight` is read; to add an RPC, it is counted before this is read: so one of
            the two threads sees the other.
        connectivity: The connection's state as last reported.
        failing: The connection failed and has not been ready since (gRFC A62).
        slow: The connection attempt under way takes longer than others are held up for.
        explaining: The shell was asked why the connection fails, and has not answered.
        draining: It has left the list: no new RPC.
        drain_until: When its RPCs must have ended. None: no limit.
        in_flight: One entry per RPC that it carries: a `Place`, or a mark of its own.
        last_error: Why the connection was last seen to fail. Empty: not known.
        load: What the backend last said of its load. None: nothing.
        weight: Its share of picks at present, relative to the others that may be picked.
        late: It arrived when others were listed already: it is one to be warmed up.
        ready_since: When it was ready for the first time. None: never.
        host: Where outlier detection counts its RPCs that succeed. None: it doesn't.
        ejected_until: Outlier detection keeps it from being picked until then. None: it doesn't.
        used_at: When it was last picked, as far as anybody keeps count.
        level: How near it is, by the locality priorities: 0 is the nearest.
    """

    __slots__ = (
        "accepting",
        "connectivity",
        "drain_until",
        "draining",
        "ejected_until",
        "endpoint",
        "explaining",
        "failing",
        "handle",
        "host",
        "in_flight",
        "last_error",
        "late",
        "level",
        "load",
        "opened",
        "ready_since",
        "slow",
        "used_at",
        "weight",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.handle: H | None = None
        self.opened = False
        self.accepting = False
        self.connectivity = Connectivity.IDLE
        self.failing = False
        self.slow = False
        self.explaining = False
        self.draining = False
        self.drain_until: float | None = None
        self.in_flight: Live = set()
        self.last_error = ""
        self.load: LoadReport | None = None
        self.weight = endpoint.weight
        self.late = False
        self.ready_since: float | None = None
        self.host: Host | None = None
        self.ejected_until: float | None = None
        self.used_at = 0.0
        self.level = 0

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return self.endpoint.address.text

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What else the list says of it."""
        return self.endpoint.metadata

    @property
    def ready(self) -> bool:
        """Whether its connection was ready when it was last looked at."""
        return self.connectivity is Connectivity.READY

    @property
    def promising(self) -> bool:
        """Whether an RPC that asked for its connection should go on waiting for it alone."""
        return self.accepting and not self.failing and not self.slow

    @property
    def ejected(self) -> bool:
        """Whether outlier detection keeps it from being picked."""
        return self.ejected_until is not None

    def __repr__(self) -> str:
        state = "draining" if self.draining else self.connectivity.value
        ejected = ", ejected" if self.ejected else ""
        weight = f"weight {self.endpoint.weight}"
        return f"<{self.address} {state}{ejected}, {weight}, {len(self.in_flight)} in flight>"


class Place(Slot, Generic[H]):
    """The place that an RPC takes among those that a backend carries.

    Attributes:
        backend: The backend.
    """

    __slots__ = ("backend",)

    def __init__(self, backend: Backend[H]) -> None:
        # What `Slot` does, without a second call: one is made for every RPC.
        self._live = live = backend.in_flight
        live.add(mark := ref(self, live.discard))
        self._mark = mark
        self.backend = backend


@dataclass(frozen=True, slots=True)
class Open(Generic[H]):
    """Open the backend's connection and connect it."""

    backend: Backend[H]


@dataclass(frozen=True, slots=True)
class Connect(Generic[H]):
    """Connect again: the connection has gone idle."""

    backend: Backend[H]


@dataclass(frozen=True, slots=True)
class Close(Generic[H]):
    """Close the backend's connection: nothing uses it any more, or its time to drain is over.

    Attributes:
        backend: Whose.
        overdue: Its time to drain is over: the RPCs that it still carries fail.
    """

    backend: Backend[H]
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Explain(Generic[H]):
    """Find out why the backend's connection fails, by an RPC that fails with it. Answer always."""

    backend: Backend[H]


Action: TypeAlias = Open[H] | Connect[H] | Close[H] | Explain[H]
