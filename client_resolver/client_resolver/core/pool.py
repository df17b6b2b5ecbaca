"""The pool's state machine: which backends there are, how they are connected, which may be picked.

Events come in, actions come out as data. The pool never touches a connection itself.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

import xxhash

from client_resolver.core.backend import Action, Backend, Open
from client_resolver.core.building import Build
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.connection_set import ConnectionSet
from client_resolver.core.ejections import Ejections
from client_resolver.core.events import EventLog
from client_resolver.core.idleness import Idleness, UsePicker
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.outlier import shows_overload
from client_resolver.core.picker import Picker
from client_resolver.core.selection import PickerBuilder, reweigh, select
from client_resolver.core.subset import subset

__all__ = ["Pool"]

H = TypeVar("H")


class Pool(Generic[H]):
    """Holds the backends of the current list and those that drain.

    An event costs O(log n), a new list and new pickers O(n).

    Args:
        config: The pool's configuration until `configure`.
        rng: The source of all that is random.
        now: The clock that all times are on, in seconds.
        options: What the channel decides for good.

    Attributes:
        config: The pool's configuration.
        log: What has happened.
        usable: The listed backends that may get RPCs once they are ready, in the list's order.
        changed: The pickers or the aggregated connectivity may not be what they were.
        urgent: And a picker may pick what it shouldn't any more, or there was none.
        tracked: The ends of RPCs are wanted. Each RPC asks for it.
        tracks_failures: The ends of those that fail are wanted.
        now: The clock that all times are on.
        panic: Ejected backends are picked, for too few others are ready.
    """

    def __init__(
        self,
        config: PoolConfig,
        rng: Random,
        now: Callable[[], float],
        options: PoolOptions | None = None,
    ) -> None:
        self._options = options = PoolOptions() if options is None else options
        self.config = config
        self.log = EventLog(options.observed)
        self.usable: list[Backend[H]] = []
        self.changed = False
        self.urgent = False
        self.panic = False
        self.now = now
        self._listed: dict[str, Backend[H]] = {}
        self._draining: dict[str, Backend[H]] = {}
        self._connections: ConnectionSet[H] = ConnectionSet(options.lazy, self.log, now)
        self._ejections: Ejections[H] = Ejections(config.outlier, rng, self.log)
        timeout = options.idle_timeout if options.lazy else None
        self._idleness: Idleness[H] | None = None if timeout is None else Idleness(timeout)
        self._ready_line: PickerBuilder[H] = PickerBuilder(rng, now)
        self._idle_line: PickerBuilder[H] = PickerBuilder(rng, now)
        self._lines = (self._ready_line, self._idle_line)
        self._seed = (
            xxhash.xxh64_intdigest(options.client_id.encode())
            if options.client_id
            else rng.getrandbits(64)
        )
        self._pickers: tuple[Picker[Backend[H]] | None, Picker[Backend[H]] | None] = (None, None)
        self._stale = False
        self._renew_at: float | None = None
        self._track()

    @property
    def listed(self) -> int:
        """How many backends the list has, those of weight 0 among them."""
        return len(self._listed)

    @property
    def wake_at(self) -> float | None:
        """When `tick` must be called next. None: not at all."""
        # All drain for equally long: the first to drain is the first whose time is over.
        first = next(iter(self._draining.values()), None)
        times = (
            None if first is None else first.drain_until,
            self._connections.wake_at,
            self._ejections.wake_at,
            self._renew_at,
            None if self._idleness is None else self._idleness.wake_at,
        )
        return min((time for time in times if time is not None), default=None)

    def __iter__(self) -> Iterator[Backend[H]]:
        yield from self._listed.values()
        yield from self._draining.values()

    def configure(self, config: PoolConfig, now: float) -> None:
        """Use another config from now on. A list must follow: see `update`."""
        self.config = config
        self._ejections.configure(config.outlier, now)
        self._track()
        self._touch()

    def update(self, endpoints: Sequence[Endpoint], now: float) -> list[Action[H]]:
        """A new list came; each address in it is unique."""
        first_list = not self._listed
        left = self._listed
        self._listed = {}
        for endpoint in self._subset(endpoints):
            address = endpoint.address.text
            backend = left.pop(address, None) or self._draining.pop(address, None)
            if backend is None:
                backend = Backend(endpoint)
                backend.late = not first_list
            self._take(backend, endpoint)
            self._listed[address] = backend
        for address, backend in left.items():
            backend.accepting = False
            backend.draining = True
            if self._options.drain_timeout is not None:
                backend.drain_until = now + self._options.drain_timeout
            self._draining[address] = backend
        self.usable = [b for b in self._listed.values() if b.endpoint.weight > 0]
        self._ejections.keep(self.usable)
        self._touch()
        return self._drain(now) + self._arrange()

    def drained(self, backend: Backend[H], now: float) -> list[Action[H]]:
        """Release a backend whose last RPC has ended, or whose drain timeout is over."""
        if self._draining.get(backend.address) is not backend or not _drained(backend, now):
            return []
        return self._let_go(backend) + self._noted(self._connections.fill())

    def tick(self, now: float) -> list[Action[H]]:
        """Do what has become due: see `wake_at`."""
        actions = self._drain(now)
        if self._ejections.sweep(now):
            self._touch()
        if self._renew_at is not None and now >= self._renew_at:
            self._touch(urgent=False)
        if self._connections.overdue(now):
            self._touch()
        if self._idleness is not None:
            for backend in self._idleness.found(self._listed.values(), now):
                actions += self._connections.park(backend)
                self._touch()
        return actions + self._noted(self._connections.fill())

    def observed(self, backend: Backend[H], connectivity: Connectivity) -> list[Action[H]]:
        """The state of a backend's connection changed."""
        if not backend.opened:
            return []
        was_ready = backend.ready
        if connectivity is not backend.connectivity:
            self.changed = True
        actions = self._connections.observed(backend, connectivity)
        if backend.ready and backend.ready_since is None:
            backend.ready_since = self.now()
        if was_ready is not backend.ready or self._options.lazy or actions:
            more = backend.ready and not actions and self._pickers[0] is not None
            self._touch(urgent=not more)
        return self._noted(actions)

    def succeeded(self, backend: Backend[H], seconds: float) -> bool:
        """An RPC succeeded. Where `tracked`, each is reported here, by the thread that saw it.

        Unlike all else here, any thread may call it at any time, also one that has interrupted
        another call of the pool: it adds to counts that are made for that, and to nothing else.

        Returns:
            Whether `wake` is to be called: it is the first after a rest.
        """
        if self._measured:
            for line in self._lines:
                reporting = line.reporting
                if reporting is not None:
                    reporting.ended(backend, seconds, True)
        host = backend.host
        if host is None:
            return False
        next(host.successes)
        if host.in_a_row:
            host.in_a_row.clear()
        detector = self._ejections.detector
        return detector is not None and detector.resting

    def wake(self, now: float) -> None:
        """RPCs end again: `wake_at` may have changed."""
        detector = self._ejections.detector
        if detector is not None and detector.resting:
            detector.begin(now)

    def failed(
        self, backend: Backend[H], code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> bool:
        """An RPC failed. Return whether `changed` or `wake_at` may have changed."""
        overload = pushback or shows_overload(code, self.config.outlier)
        for line in self._lines:
            line.failed(backend, seconds, overload=overload)
        rested = self._ejections.wake_at is None
        if self._ejections.ended(backend, code, now):
            self._touch()
            return True
        return rested and self._ejections.wake_at is not None

    def idle_picked(self, backend: Backend[H], now: float) -> list[Action[H]]:
        """An RPC picked a backend that has no connection."""
        backend.used_at = now
        actions = self._noted(self._connections.wanted(backend))
        if actions:
            self._touch()
        return actions

    def pickers(self) -> tuple[Picker[Backend[H]] | None, Picker[Backend[H]] | None]:
        """Return the picker over the backends that are ready, and the one over idle ones as well.

        None: there is nothing to pick; and for the second, none is idle that could be connected.
        """
        if self._stale:
            self._renew()
        self.changed = self.urgent = False
        return self._pickers

    @property
    def build(self) -> Build[Backend[H]] | None:
        """A picker that is being built: the shell is to do its steps. None: there is none."""
        builds = (*self._ready_line.builds.values(), *self._idle_line.builds.values())
        return builds[0] if builds else None

    def built(self, build: Build[Backend[H]]) -> None:
        """All steps of `build` are done."""
        if self._ready_line.built(build) or self._idle_line.built(build):
            self._touch()

    def connectivity(self) -> Connectivity:
        """The state of all usable backends together, as `round_robin` of gRPC aggregates it."""
        connections = self._connections
        if connections.ready:
            return Connectivity.READY
        if self.usable and connections.failing == len(self.usable):
            return Connectivity.TRANSIENT_FAILURE
        if self._options.lazy and self.usable and not connections.connecting:
            return Connectivity.IDLE
        return Connectivity.CONNECTING

    def close(self) -> list[Action[H]]:
        """Release everything."""
        actions = [self._connections.close(backend) for backend in self if backend.opened]
        self._listed = {}
        self._draining = {}
        self.usable = []
        self._connections.arrange((), ())
        self._ejections.keep(())
        self._ejections.configure(None, self.now())
        self._track()
        self._idleness = None
        self._renew_at = None
        self._touch()
        return actions

    def _renew(self) -> None:
        self._stale = False
        config, usable, lazy = self.config, self.usable, self._options.lazy
        now = self.now()
        ready = [backend for backend in usable if backend.connectivity is Connectivity.READY]
        step = reweigh(usable if lazy or config.policy.keyed else ready, config, now)
        steps = [time for time in (step, config.policy.refresh) if time is not None]
        self._renew_at = now + min(steps) if ready and steps else None
        chosen, self.panic = select(ready, config.panic_threshold)
        self._ready_line.renew(config, chosen, usable)
        if lazy:
            self._idle_line.renew(config, self._connectable(), usable)
        ready_picker, idle_picker = self._ready_line.picker, self._idle_line.picker
        if self._idleness is not None:
            ready_picker, idle_picker = self._counted(ready_picker), self._counted(idle_picker)
        self._pickers = (ready_picker, idle_picker)

    def _connectable(self) -> list[Backend[H]]:
        """Return what an RPC may ask for in lazy mode. Nothing: no idle backend is among it."""
        if self._connections.full:
            return []
        well = [
            backend
            for backend in self.usable
            if not backend.failing
            and not backend.slow
            and (backend.ejected_until is None or (self.panic and backend.ready))
        ]
        return well if any(not backend.opened for backend in well) else []

    def _counted(self, picker: Picker[Backend[H]] | None) -> Picker[Backend[H]] | None:
        return None if picker is None else UsePicker(picker, self.now)

    def _noted(self, actions: list[Action[H]]) -> list[Action[H]]:
        if self._idleness is not None:
            for action in actions:
                if isinstance(action, Open):
                    self._idleness.opened(action.backend, self.now())
        return actions

    def _touch(self, *, urgent: bool = True) -> None:
        self.changed = True
        self.urgent = self.urgent or urgent
        self._stale = True

    def _track(self) -> None:
        policy = self.config.policy
        self._measured = policy.measured
        self.tracked = self._ejections.on or policy.measured or policy.load_reports
        self.tracks_failures = self.tracked or policy.counts_failures

    def _subset(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        size = self.config.subset_size or self._options.subset_size
        if size is None or len(endpoints) <= size:
            return endpoints
        weighty = [endpoint for endpoint in endpoints if endpoint.weight > 0]
        return subset(weighty or endpoints, size, self._seed, lambda one: one.address.text)

    def _take(self, backend: Backend[H], endpoint: Endpoint) -> None:
        backend.endpoint = endpoint
        backend.draining = False
        backend.drain_until = None
        backend.accepting = backend.opened
        priorities = self.config.priorities
        if priorities is not None:
            backend.level = priorities.level_of(endpoint, self._options.zone, self._options.node)
        else:
            backend.level = 0

    def _arrange(self) -> list[Action[H]]:
        one = self.config.policy.connects == "one"
        most = self.config.limits.max_connections
        preferred = self.usable
        if one:
            self._connections.limit = 1
            if self.config.policy.shuffles:
                preferred = sorted(preferred, key=self._rank)
        elif most is not None:
            self._connections.limit = max(1, most // self._options.connections_per_backend)
            # Each client prefers others, or all would connect to the same few.
            preferred = sorted(preferred, key=self._rank)
        else:
            self._connections.limit = None
        others = [backend for backend in self if backend.draining or backend.endpoint.weight == 0]
        return self._noted(self._connections.arrange(preferred, others))

    def _rank(self, backend: Backend[H]) -> int:
        return xxhash.xxh64_intdigest(backend.address.encode(), self._seed)

    def _drain(self, now: float) -> list[Action[H]]:
        done = [backend for backend in self._draining.values() if _drained(backend, now)]
        return [action for backend in done for action in self._let_go(backend)]

    def _let_go(self, backend: Backend[H]) -> list[Action[H]]:
        del self._draining[backend.address]
        if self._options.lazy:
            # There may be room for a connection again, so idle backends may be picked.
            self._touch(urgent=False)
        if not backend.opened:
            return []
        return [self._connections.close(backend, overdue=bool(backend.in_flight))]


def _drained(backend: Backend[H], now: float) -> bool:
    until = backend.drain_until
    return not backend.in_flight or (until is not None and until <= now)
