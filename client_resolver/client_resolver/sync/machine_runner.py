"""Runs a channel's state machine: takes its events one at a time and carries out what follows."""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings
from client_resolver.core.channel_state import Outlook
from client_resolver.core.delta import Delta
from client_resolver.core.events import Event
from client_resolver.core.load import LoadReport
from client_resolver.core.machine import Machine
from client_resolver.core.model import Code, Connectivity, Revision, ServerList
from client_resolver.core.watch import Lost
from client_resolver.sync.backend_connections import BackendConnections
from client_resolver.sync.connection import READY, Action, Backend, Connection, Handle
from client_resolver.sync.snapshots import Snapshots
from client_resolver.sync.waiting_calls import WaitingCalls
from client_resolver.sync.wakeups import Wakeup
from client_resolver.sync.work_serializer import WorkSerializer

__all__ = ["MachineRunner"]

_BUILDING = 0.02
"""Seconds for which the thread builds a picker before it looks at everything else again."""


class MachineRunner:
    """Owns a channel's state machine and the connections that it decides about.

    The lock is `serializer`: each event is a piece of work for it, so that any thread may call any
    method at any time, but for those of the driver's thread.

    Args:
        settings: The channel's settings.
        config: The service config that holds.
        machine: The state machine.
        waiting: The calls that wait, which go on when they should look again.
        work: Wakes the driver's thread.
        published: Called with each published state of the channel, inside the serializer.
        happened: Called with the events for observers, inside the serializer.

    Attributes:
        machine: The state machine.
        connections: The backends' connections.
        serializer: Held for every change of `machine` and of the list of connections.
        snapshots: The state for operators.
        backend_failed: Is called when a backend is lost. None: nobody wants to know.
        connects: A backend is to be connected, once none is connected unless it is picked.
        closed: Lists are ignored.
    """

    def __init__(
        self,
        settings: Settings,
        config: EffectiveConfig,
        machine: Machine[Handle],
        *,
        waiting: WaitingCalls,
        work: Wakeup,
        published: Callable[[Outlook[Handle]], None],
        happened: Callable[[Sequence[Event]], None],
    ) -> None:
        self.machine = machine
        self.connections = BackendConnections(settings, config, work.set)
        self.serializer = WorkSerializer(work.set)
        self.snapshots = Snapshots(settings, machine, self.serializer)
        self.backend_failed: Callable[[], None] | None = None
        self.connects = False
        self.closed = False
        self._waiting = waiting
        self._work = work
        self._published = published
        self._happened = happened

    def begun(self) -> Revision | None:
        """See `client_resolver.core.watch.ListSink`."""
        return self.serializer.call(lambda: self.machine.begun(monotonic()))

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> ServerList | None:
            if not self.closed:
                self._carry_out(self.machine.received(message, monotonic()))
            return self.machine.watch.current

        return self.serializer.call(take)

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> Lost:
            lost = self.machine.lost(code, details, monotonic(), misread=misread)
            if not self.closed:
                self._publish()
            return lost

        return self.serializer.call(take)

    def fallback_failed(self, why: str) -> None:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> None:
            self.machine.fallback_failed(why)
            if not self.closed:
                self._publish()

        self.serializer.call(take)

    def idle_picked(self, backend: Backend) -> None:
        """An RPC needs a backend that isn't connected. It is connected when this returns."""
        self.serializer.await_post(
            lambda: self._carry_out(self.machine.idle_picked(backend, monotonic()))
        )

    def drained(self, backend: Backend) -> None:
        """An RPC of a backend that drains has ended. The driver's thread looks as well."""
        if not backend.in_flight:
            self.serializer.post(
                lambda: self._carry_out(self.machine.drained(backend, monotonic()))
            )

    def observe(self, backend: Backend, used: Handle | None = None) -> bool:
        """Look at a backend's connection. Return whether it, or the one `used` of it, is ready."""
        handle = backend.handle
        if handle is None:
            self.serializer.post(self._publish)
            return False
        state = handle.state(False)
        if state is not backend.connectivity:
            self.serializer.post(lambda: self._look_again(backend))
        return (state if used is None else used.state(False)) is READY

    def attempt_failed(
        self, backend: Backend, code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""

        def take() -> None:
            if self.machine.failed(backend, code, seconds, now, pushback=pushback):
                self._publish()
                # A time of the machine's may have come up.
                self._work.set()

        # It may eject the backend: the thread's next RPC is not to go there any more.
        self.serializer.await_post(take)

    def wake(self, now: float) -> None:
        """See `client_resolver.core.pool.Pool.wake`."""

        def wake() -> None:
            self.machine.pool.wake(now)
            self._work.set()

        self.serializer.post(wake)

    def reporting(self) -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
        """See `client_resolver.sync.load_reader.Source`."""

        def look() -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
            ready = [one for one in self.machine.pool if one.ready and not one.draining]
            pairs = [(one, one.handle.parts[0]) for one in ready if one.handle is not None]
            period = None if self.closed else self.machine.load_period
            return period, pairs if period is not None else []

        return self.serializer.call(look)

    def loaded(self, backend: Backend, report: LoadReport) -> None:
        """See `client_resolver.sync.load_reader.Source`."""
        self.machine.loaded(backend, report)

    def tick(self) -> float:
        """Do what is due. Return when something is due next. On the driver's thread."""
        return self.serializer.call(self._tick)

    def _tick(self) -> float:
        now, machine = monotonic(), self.machine
        self.connections.perform(machine.tick(now))
        idle = machine.outlook.idle_picker
        if self.connects and idle is not None and machine.outlook.picker is None:
            self.connects = False
            self.connections.perform(machine.idle_picked(idle.pick(), now))
        pause = self.connections.look(list(machine.pool), self._observed)
        self._publish()
        if self.snapshots.due is not None and self.snapshots.due <= now:
            self.snapshots.keep(now)
        times = (now + pause, machine.wake_at, self.snapshots.due)
        return min(time for time in times if time is not None)

    def explain(self) -> None:
        """Find out why connections fail, by RPCs. On the driver's thread, without the lock."""
        self.connections.explain()
        for backend, handle, why in self.connections.reasons():
            self.serializer.call(partial(self._explained, backend, handle, why))

    def build(self) -> bool:
        """Build a picker, for a moment, if one is to be built. Return whether there is more.

        On the driver's thread, without the lock: RPCs go on with the picker of the moment.
        """
        build = self.serializer.call(lambda: self.machine.build)
        if build is None:
            return False
        until = monotonic() + _BUILDING
        while not build.step():
            if monotonic() >= until:
                return True

        def built() -> None:
            self.machine.built(build)
            self._publish()

        self.serializer.call(built)
        return True

    def finish(self) -> None:
        """Close all connections but for `connections.shut`. On the driver's thread."""

        def end() -> None:
            self.connections.perform(self.machine.close())
            self._publish()
            self.snapshots.keep(monotonic())

        self.serializer.call(end)

    def _look_again(self, backend: Backend) -> None:
        handle = backend.handle
        state = None if handle is None else handle.look()
        if state is not None:
            self._observed(backend, state)
        else:
            self.connections.look_soon()
        self._publish()
        # A thread that saw the state before this change waits for it, whatever the result.
        self._waiting.look_again()
        self._work.set()

    def _observed(self, backend: Backend, state: Connectivity) -> None:
        before = backend.connectivity
        self._settle(backend, before, self.machine.observed(backend, state))

    def _explained(self, backend: Backend, handle: Handle, why: str) -> None:
        if backend.handle is not handle:
            return
        state = handle.look()
        if state is None or state is Connectivity.TRANSIENT_FAILURE:
            before = backend.connectivity
            self._settle(backend, before, self.machine.explained(backend, why))
        else:
            self._observed(backend, state)
        self._publish()

    def _settle(self, backend: Backend, before: Connectivity, found: Sequence[Action]) -> None:
        """Do what follows from what was seen of a connection."""
        self.connections.perform(found)
        state = backend.connectivity
        failed = state is Connectivity.TRANSIENT_FAILURE or before is READY
        if failed and before is not state and self.backend_failed is not None:
            self.backend_failed()

    def _carry_out(self, found: Sequence[Action]) -> None:
        self.connections.perform(found)
        self._publish()
        # A time of the machine's may have moved; a connection is to be looked at soon.
        self._work.set()

    def _publish(self) -> None:
        machine = self.machine
        if machine.publish():
            self.snapshots.changed()
            self._published(machine.outlook)
        events = machine.events()
        self._happened(events)
        if events or machine.build is not None:
            self._work.set()
