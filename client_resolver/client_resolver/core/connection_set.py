"""Selects the backends that are connected: all, those that were picked, or a subset."""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from client_resolver.core.backend import Action, Backend, Close, Connect, Open
from client_resolver.core.events import ConnectionChanged, EventLog
from client_resolver.core.model import Connectivity

__all__ = ["ConnectionSet"]

H = TypeVar("H")

ATTEMPT_DELAY = 0.25
"""Seconds that a connection attempt gets before the next backend is tried beside it, where not all
are connected anyway: the Connection Attempt Delay of RFC 8305, as in pick_first (gRFC A61)."""


_ENDED = (Connectivity.READY, Connectivity.TRANSIENT_FAILURE)
"""The states that an attempt to connect ends in."""


class ConnectionSet(Generic[H]):
    """Opens and closes the connections of a channel's backends, as data.

    Without a limit, all listed backends are connected; lazily, those that were picked. With one, at
    most that number of reachable backends is connected, in the order of preference. One that fails
    doesn't count, stays open for C-core to try again, and makes place for the next; so does one
    whose attempt takes longer than `ATTEMPT_DELAY`. Once there are enough that are ready, the
    others are closed. Backends that drain count, yet one that may be
    picked is always allowed. A limit that gets smaller ends no connection that is ready.

    Every operation but `arrange` takes O(log n), or what the connections that it closes have paid.

    Args:
        lazy: Open a backend when it is asked for, not before.
        log: Takes the events.
        now: The clock, in seconds.

    Attributes:
        limit: How many backends may be connected. None: any number.
    """

    def __init__(self, lazy: bool, log: EventLog, now: Callable[[], float]) -> None:
        self._lazy = lazy
        self._log = log
        self._now = now
        self.limit: int | None = None
        self._ranks: dict[Backend[H], int] = {}
        self._queue: list[tuple[int, Backend[H]]] = []
        self._held: dict[Backend[H], None] = {}
        self._ready: dict[Backend[H], None] = {}
        self._failing: dict[Backend[H], None] = {}
        self._connecting: dict[Backend[H], None] = {}
        self._slow: dict[Backend[H], None] = {}
        # All attempts get the same time: the first to begin is the first whose time is over.
        self._attempts: dict[Backend[H], float] = {}

    @property
    def wake_at(self) -> float | None:
        """When `overdue` has work to do. None: not at all."""
        # Where all are connected, no attempt waits for another.
        if self.limit is None and not self._lazy:
            return None
        return next(iter(self._attempts.values()), None)

    @property
    def ready(self) -> int:
        """How many backends that may be picked are ready."""
        return len(self._ready)

    @property
    def failing(self) -> int:
        """How many backends that may be picked are failing."""
        return len(self._failing)

    @property
    def connecting(self) -> int:
        """How many backends that may be picked have a connection that is neither."""
        return len(self._connecting) + len(self._slow)

    @property
    def full(self) -> bool:
        """Whether no further backend may be connected."""
        if self.limit is None or len(self._held) < self.limit:
            return False
        # What drains or has no weight must not keep the channel from having any backend at all.
        return bool(self._ready or self._connecting)

    def arrange(
        self, preferred: Sequence[Backend[H]], others: Sequence[Backend[H]]
    ) -> list[Action[H]]:
        """The list of backends changed.

        Args:
            preferred: Those that may be picked, best first.
            others: Those that are listed or drain and may not be picked. They are only connected
                where there is neither a limit nor laziness.
        """
        self._ranks = {backend: rank for rank, backend in enumerate(preferred)}
        self._held, self._ready, self._failing = {}, {}, {}
        self._connecting, self._slow = {}, {}
        spare = [backend for backend in others if not backend.draining and not backend.opened]
        for backend in (*preferred, *others):
            if backend.opened:
                self._sort(backend)
        self._queue = [(r, backend) for backend, r in self._ranks.items() if not backend.opened]
        heapify(self._queue)
        actions = self.fill()
        if self.limit is None and not self._lazy:
            actions.extend(self._open(backend) for backend in spare)
        return actions

    def fill(self) -> list[Action[H]]:
        """Open what may and should be open."""
        actions: list[Action[H]] = []
        if self._lazy:
            return actions
        while self._queue and not self.full:
            _, backend = heappop(self._queue)
            if not backend.opened and backend in self._ranks:
                actions.append(self._open(backend))
        return actions

    def wanted(self, backend: Backend[H]) -> list[Action[H]]:
        """A backend was picked that may have no connection."""
        if backend not in self._ranks:
            return []
        if backend.opened:
            return [self._connect(backend)] if backend.connectivity is Connectivity.IDLE else []
        return [] if self.full else [self._open(backend)]

    def overdue(self, now: float) -> bool:
        """Have the attempts that have taken too long make place. Return whether there are any."""
        found = False
        while (due := self.wake_at) is not None and due <= now:
            backend = next(iter(self._attempts))
            del self._attempts[backend]
            backend.slow = found = True
            self._sort(backend)
        return found

    def observed(self, backend: Backend[H], connectivity: Connectivity) -> list[Action[H]]:
        """The state of an open connection changed."""
        before = backend.connectivity
        if connectivity is not before:
            backend.connectivity = connectivity
            self._tell(backend, before, connectivity)
        if connectivity in _ENDED:
            self._end_attempt(backend)
            backend.failing = connectivity is Connectivity.TRANSIENT_FAILURE
        if connectivity is Connectivity.READY:
            backend.last_error = ""
        self._sort(backend)
        if connectivity is Connectivity.READY:
            return self._settled(backend)
        if connectivity is Connectivity.TRANSIENT_FAILURE:
            return self.fill()
        if connectivity is Connectivity.IDLE and not backend.draining:
            return self._idle(backend, before)
        return []

    def close(self, backend: Backend[H], *, overdue: bool = False) -> Action[H]:
        """Close a connection that is open, whatever it carries. See `Close` for `overdue`."""
        backend.accepting = False
        backend.opened = False
        backend.failing = False
        # The answer would be about the connection that is closed.
        backend.explaining = False
        self._end_attempt(backend)
        before, backend.connectivity = backend.connectivity, Connectivity.IDLE
        self._tell(backend, before, None)
        self._sort(backend)
        rank = self._ranks.get(backend)
        if rank is not None:
            heappush(self._queue, (rank, backend))
        return Close(backend, overdue)

    def park(self, backend: Backend[H]) -> list[Action[H]]:
        """Close a connection unless it carries an RPC. The backend may be opened again."""
        backend.accepting = False
        if backend.in_flight:
            backend.accepting = True
            return []
        return [self.close(backend)]

    def _open(self, backend: Backend[H]) -> Action[H]:
        backend.opened = True
        backend.accepting = True
        self._begin_attempt(backend)
        self._sort(backend)
        self._tell(backend, None, backend.connectivity)
        return Open(backend)

    def _connect(self, backend: Backend[H]) -> Action[H]:
        self._begin_attempt(backend)
        return Connect(backend)

    def _begin_attempt(self, backend: Backend[H]) -> None:
        # Taken out first: only a new key comes last.
        self._attempts.pop(backend, None)
        self._attempts[backend] = self._now() + ATTEMPT_DELAY

    def _end_attempt(self, backend: Backend[H]) -> None:
        self._attempts.pop(backend, None)
        backend.slow = False

    def _settled(self, backend: Backend[H]) -> list[Action[H]]:
        limit = self.limit
        if limit is None or backend.draining:
            return []
        if backend not in self._ranks:
            return self.park(backend) if len(self._held) > limit else []
        actions: list[Action[H]] = []
        for other in list(self._connecting) if len(self._held) > limit else ():
            if len(self._held) > limit:
                actions += self.park(other)
        if len(self._held) > limit and len(self._ready) > 1:
            actions += self.park(backend)
        if len(self._ready) >= limit:
            for other in [*self._failing, *self._slow]:
                actions += self.park(other)
        return actions

    def _idle(self, backend: Backend[H], before: Connectivity) -> list[Action[H]]:
        # A connection that has just been opened may be seen idle as well.
        lost = before is Connectivity.READY
        if self._lazy:
            return self.park(backend) if lost else []
        if lost and self.limit is not None and len(self._held) > self.limit:
            pickable = len(self._ready) + len(self._connecting)
            if backend not in self._ranks or pickable > 1:
                return self.park(backend)
        return [self._connect(backend)]

    def _sort(self, backend: Backend[H]) -> None:
        """Put a backend into the groups that it belongs to now."""
        is_open, failing, ready = backend.opened, backend.failing, backend.ready
        slow = backend.slow
        pickable = is_open and backend in self._ranks
        for group, belongs in (
            (self._held, is_open and not failing and not slow),
            (self._ready, pickable and ready),
            (self._failing, pickable and failing),
            (self._connecting, pickable and not ready and not failing and not slow),
            (self._slow, pickable and slow and not failing),
        ):
            if belongs:
                group[backend] = None
            else:
                group.pop(backend, None)

    def _tell(
        self, backend: Backend[H], before: Connectivity | None, after: Connectivity | None
    ) -> None:
        if self._log.on:
            failing = after is Connectivity.TRANSIENT_FAILURE
            error = backend.last_error if failing else ""
            self._log.add(ConnectionChanged(backend.address, before, after, error))
