"""The pool's state machine: which backends there are, how they are connected, which may be picked.

Events come in, actions come out as data. The pool never touches a connection itself.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeAlias, TypeVar

from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.picker import Picker, Policy

__all__ = ["Action", "Backend", "Close", "Connect", "Open", "Pool"]

H = TypeVar("H")


class Backend(Generic[H]):
    """One backend and its connection, from its arrival in the list until it has drained.

    Attributes:
        endpoint: What the list says of it.
        handle: The shell's connection. None until the shell has opened it.
        connectivity: The connection's state as last reported.
        failing: The connection failed and has not been ready since (gRFC A62).
        draining: It has left the list: no new RPC.
        in_flight: One entry per RPC that it carries. A deque, because its append and pop are
            atomic: threads count without a lock.
        last_error: Why the connection was last seen to fail. Empty: not known.
    """

    __slots__ = (
        "connectivity",
        "drain_until",
        "draining",
        "endpoint",
        "failing",
        "handle",
        "in_flight",
        "last_error",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.handle: H | None = None
        self.connectivity = Connectivity.IDLE
        self.failing = False
        self.draining = False
        self.drain_until: float | None = None
        self.in_flight: deque[None] = deque()
        self.last_error = ""

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return self.endpoint.address.text

    @property
    def weight(self) -> int:
        """The share of requests, relative to the others."""
        return self.endpoint.weight

    def __repr__(self) -> str:
        state = "draining" if self.draining else self.connectivity.value
        return f"<{self.address} {state}, weight {self.weight}, {len(self.in_flight)} in flight>"


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
    """Close the backend's connection: nothing uses it any more, or its time to drain is over."""

    backend: Backend[H]


Action: TypeAlias = Open[H] | Connect[H] | Close[H]


class Pool(Generic[H]):
    """Holds the backends of the current list and those that drain.

    Args:
        policy: Builds the pickers.
        rng: Handed to the policy.
        drain_timeout: How long a backend that has left may finish its RPCs, in seconds. None: as
            long as they take.

    Attributes:
        policy: Builds the pickers from now on.
    """

    def __init__(self, policy: Policy, rng: Random, drain_timeout: float | None) -> None:
        self.policy = policy
        self._rng = rng
        self._drain_timeout = drain_timeout
        self._listed: dict[str, Backend[H]] = {}
        self._draining: dict[str, Backend[H]] = {}

    @property
    def usable(self) -> list[Backend[H]]:
        """The listed backends that may get RPCs once they are ready."""
        return [backend for backend in self._listed.values() if backend.endpoint.weight > 0]

    @property
    def listed(self) -> int:
        """How many backends the list has, those of weight 0 among them."""
        return len(self._listed)

    def __iter__(self) -> Iterator[Backend[H]]:
        yield from self._listed.values()
        yield from self._draining.values()

    def update(self, endpoints: Sequence[Endpoint], now: float) -> list[Action[H]]:
        """Take in a new list, each address of it once."""
        actions: list[Action[H]] = []
        left = self._listed
        self._listed = {}
        for endpoint in endpoints:
            address = endpoint.address.text
            backend = left.pop(address, None) or self._draining.pop(address, None)
            if backend is None:
                backend = Backend(endpoint)
                actions.append(Open(backend))
            backend.endpoint = endpoint
            backend.draining = False
            backend.drain_until = None
            self._listed[address] = backend
        for address, backend in left.items():
            backend.draining = True
            if self._drain_timeout is not None:
                backend.drain_until = now + self._drain_timeout
            self._draining[address] = backend
        return actions + self.drained(now)

    def drained(self, now: float) -> list[Action[H]]:
        """Let go of the backends whose last RPC has ended or whose time to drain is over."""
        done = [
            backend
            for backend in self._draining.values()
            if not backend.in_flight or _expired(backend.drain_until, now)
        ]
        for backend in done:
            del self._draining[backend.address]
        return [Close(backend) for backend in done]

    @property
    def wake_at(self) -> float | None:
        """When the next backend's time to drain is over. None: no such time."""
        times = [b.drain_until for b in self._draining.values() if b.drain_until is not None]
        return min(times, default=None)

    def observed(self, backend: Backend[H], connectivity: Connectivity) -> list[Action[H]]:
        """Take in the state that a backend's connection is in now."""
        backend.connectivity = connectivity
        if connectivity is Connectivity.READY:
            backend.failing = False
            backend.last_error = ""
        elif connectivity is Connectivity.TRANSIENT_FAILURE:
            backend.failing = True
        elif connectivity is Connectivity.IDLE and not backend.draining:
            return [Connect(backend)]
        return []

    def picker(self) -> Picker[Backend[H]] | None:
        """Build a picker over the backends that are ready. None: there are none."""
        ready = [b for b in self.usable if b.connectivity is Connectivity.READY]
        return self.policy.build(ready, self._rng) if ready else None

    def connectivity(self) -> Connectivity:
        """The state of all usable backends together, as `round_robin` of gRPC aggregates it."""
        usable = self.usable
        if any(b.connectivity is Connectivity.READY for b in usable):
            return Connectivity.READY
        if usable and all(b.failing for b in usable):
            return Connectivity.TRANSIENT_FAILURE
        return Connectivity.CONNECTING

    def close(self) -> list[Action[H]]:
        """Let go of everything."""
        actions: list[Action[H]] = [Close(backend) for backend in self]
        self._listed = {}
        self._draining = {}
        return actions


def _expired(until: float | None, now: float) -> bool:
    return until is not None and until <= now
