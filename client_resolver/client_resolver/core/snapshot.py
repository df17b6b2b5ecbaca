"""The whole state of a channel at one moment, as records for operators."""

from dataclasses import dataclass, replace
from typing import TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.breaker import Breaker
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Connectivity, ListState, Revision

__all__ = ["BackendSnapshot", "ChannelSnapshot", "of_channel", "snapshot_of"]

H = TypeVar("H")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSnapshot:
    """One backend at one moment.

    Attributes:
        address: `HOST:PORT`.
        connectivity: The state of its connection. None: it has none.
        weight: Its share of RPCs by the list, relative to the others.
        effective_weight: The one that it is picked with, relative to the others' effective weights.
        zone: The zone that it runs in. Empty: unknown.
        node: The node that it runs on. Empty: unknown.
        level: How near it is by the locality priorities: 0 is the nearest.
        in_flight: How many RPCs it carries.
        ejected_for: For how many seconds more outlier detection keeps it from being picked; 0: it
            is back as soon as somebody looks. None: it is not ejected.
        draining: It has left the list and finishes its RPCs.
        failing: Its connection failed and has not been ready since.
        last_error: Why it failed. Empty: not known.
        load: What it last said of its load. None: nothing.
    """

    address: str
    connectivity: Connectivity | None
    weight: int
    effective_weight: int
    zone: str
    node: str
    level: int
    in_flight: int
    ejected_for: float | None
    draining: bool
    failing: bool
    last_error: str
    load: LoadReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSnapshot:
    """One channel at one moment.

    Attributes:
        state: The state of the channel as a whole.
        waiting: What RPCs are waiting for, or why they fail. Empty: there is a backend for them.
        policy: The load-balancing policy's name.
        revision: Which list holds. None: there was none yet.
        list_state: What the list means. None: there was none yet.
        list_age: Seconds since the list was taken. None: there was none yet.
        stale_for: Seconds since the list was last known to be current. 0: what gives the lists is
            there and says nothing else. None: there was none yet.
        balancer: Why the watch was lost. Empty: it works, or has not failed yet.
        panic: Too many backends are ejected, so ejections are ignored.
        settled: RPCs meet all of this already; nothing is about to be published.
        waiting_calls: Calls that wait for a backend, or for a retry, and hold no thread meanwhile.
        breaker_requests: RPCs that the circuit breaker counts as under way. 0 where it has no limit
            for RPCs.
        breaker_pending: Those of them that wait for a backend.
        breaker_retries: Attempts after the first that it counts as under way.
        backends: The backends of the list, in its order, then those that drain.
    """

    state: Connectivity
    waiting: str
    policy: str
    revision: Revision | None
    list_state: ListState | None
    list_age: float | None
    stale_for: float | None
    balancer: str
    panic: bool
    settled: bool
    backends: tuple[BackendSnapshot, ...]
    waiting_calls: int = 0
    breaker_requests: int = 0
    breaker_pending: int = 0
    breaker_retries: int = 0

    @property
    def in_flight(self) -> int:
        """How many RPCs the channel's backends carry."""
        return sum(backend.in_flight for backend in self.backends)

    @property
    def ejected(self) -> tuple[str, ...]:
        """The addresses of the backends that are ejected."""
        return tuple(one.address for one in self.backends if one.ejected_for is not None)


def of_channel(
    snapshot: ChannelSnapshot, breaker: Breaker, waiting: int, *, started: bool, closed: bool
) -> ChannelSnapshot:
    """Complete the snapshot of a machine by what its shell knows.

    Args:
        snapshot: The machine's.
        breaker: Counts the channel's RPCs.
        waiting: How many calls wait.
        started: The channel was used.
        closed: It was closed.
    """
    snapshot = replace(
        snapshot,
        waiting_calls=waiting,
        breaker_requests=breaker.requests,
        breaker_pending=breaker.pending,
        breaker_retries=breaker.retries,
    )
    if closed:
        return replace(snapshot, state=Connectivity.SHUTDOWN, waiting="nothing: it is closed")
    if not started:
        return replace(snapshot, state=Connectivity.IDLE, waiting="the first use of the channel")
    return snapshot


def snapshot_of(backend: Backend[H], now: float) -> BackendSnapshot:
    """Describe a backend as it is now."""
    endpoint, until = backend.endpoint, backend.ejected_until
    return BackendSnapshot(
        address=backend.address,
        connectivity=backend.connectivity if backend.opened else None,
        weight=endpoint.weight,
        effective_weight=backend.weight,
        zone=endpoint.zone,
        node=endpoint.node,
        level=backend.level,
        in_flight=len(backend.in_flight),
        ejected_for=None if until is None else max(0.0, until - now),
        draining=backend.draining,
        failing=backend.failing,
        last_error=backend.last_error,
        load=backend.load,
    )
