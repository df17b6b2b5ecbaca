"""Runs a channel's state machine on a thread: the connections, the timers, those who wait."""

import threading
from collections.abc import Sequence
from random import Random
from time import monotonic

import grpc

from client_resolver.central import Central, Configured
from client_resolver.core.delta import Delta
from client_resolver.core.load import LoadReport
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Revision, ServerList
from client_resolver.core.outlook import Outlook
from client_resolver.core.snapshot import ChannelSnapshot, of_channel
from client_resolver.core.watch import Lost
from client_resolver.observer import Observer
from client_resolver.observing import tell
from client_resolver.rpc import Rpc
from client_resolver.rpcs import Rpcs
from client_resolver.settings import Settings, describe
from client_resolver.sync.backend_connections import BackendConnections
from client_resolver.sync.connection import Action, Backend, Connection, Handle
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.forks import follow
from client_resolver.sync.load_reader import LoadReader
from client_resolver.sync.resolution import Resolution
from client_resolver.sync.subscriptions import Listener, Subscriptions
from client_resolver.sync.waiting_calls import Pending, WaitingCalls

__all__ = ["Driver"]

_READY = Connectivity.READY
_BUILDING = 0.02
"""Seconds for which the thread builds a picker before it looks at everything else again."""
_JOIN = 5.0
"""Seconds that `close` waits for the thread of this module. It never waits that long itself."""


class Driver:
    """Owns everything of a channel that has a thread or a socket.

    Nothing runs before the first use: a channel may be made in a process that forks, and each child
    starts its own.

    There are two locks. `deciding` is held for each call of the state machine and of a picker, and
    for nothing else. `lock` guards all the rest, and the order in which the machine's actions are
    carried out; it is taken first. Neither is held during an RPC, nor while a callback runs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._central = Central(settings)
        self._reset()
        follow(self)

    def _reset(self) -> None:
        self.lock = threading.RLock()
        self.closed = False
        self.started = False
        self._abandoned = False
        self._starting = threading.RLock()
        self._announced = False
        self._deciding = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._work = threading.Condition(self.lock)
        self._working = False
        rng = Random()  # noqa: S311
        self._machine: Machine[Handle] = self.settings.machine(rng, self._central.adopt, monotonic)
        self.outlook: Outlook[Handle] = self._machine.outlook
        self.rpcs: Rpcs[Handle] = Rpcs(
            self.settings,
            self._machine,
            now=monotonic,
            rng=rng,
            lock=self._deciding,
            changed=self._republish,
        )
        self._central.add(self.rpcs)
        self._load_reader = LoadReader(self.settings, self)
        self._thread: threading.Thread | None = None
        self._resolution: Resolution | None = None
        self._connections = BackendConnections(self.settings, self._central)
        self._subscriptions = Subscriptions(self.settings)
        self.pending = WaitingCalls()
        self._wakes_at = 0.0

    def forget(self) -> None:
        """See `client_resolver.sync.forks.Forkable`."""
        # The parent's channels are not closed: their sockets are the parent's.
        self._inherited = (self._machine, self._resolution)
        was_closed = self.closed
        self._reset()
        self.closed = was_closed

    def start(self, *, connect: bool = True) -> None:
        """Start what isn't running.

        Args:
            connect: Also start the resolution and the connections.

        Raises:
            ValueError: The channel is closed.
        """
        if self.started and self._thread is not None and not self.closed:
            return
        with self.lock:
            if self.closed:
                raise ValueError("Cannot invoke RPC on closed channel!")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="lookaside-driver", daemon=True
                )
                self._thread.start()
        if connect:
            self._start_resolution()

    def _start_resolution(self) -> None:
        # Observers are told first, and no other thread's RPC goes on before they have been.
        with self._starting:
            if not self._announced:
                self._announced = True
                observers, target = self.settings.observers, self.settings.target.text
                tell(observers, Observer.channel_started, target, self.snapshot)
            with self.lock:
                if not self.started and not self.closed:
                    self.started = True
                    self._resolve()
                    self._nudge()

    def _resolve(self) -> None:
        self._resolution = Resolution(self.settings, self)
        self._resolution.start()

    def resolve_now(self) -> None:
        """Ask for the backends again, at once."""
        self.start()
        resolution = self._resolution
        if resolution is not None:
            resolution.resolve_now()

    def connect(self) -> None:
        """Start, and have a backend connected where none is unless it is picked."""
        self.start()
        with self.lock:
            idle = self.outlook.idle_picker
            if idle is not None and self.outlook.picker is None:
                with self._deciding:
                    now = monotonic()
                    found = self._machine.idle_picked(idle.pick(), now)
                self._connections.perform(found)
                self._publish()
                self._nudge()

    def configure(self, configured: Configured) -> None:
        """Tell the service config that holds, now and whenever it changes."""
        with self.lock, self._deciding:
            self._central.add(configured)

    def begun(self) -> Revision | None:
        """See `client_resolver.core.watch.Flow`."""
        with self.lock, self._deciding:
            return self._machine.begun(monotonic())

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `client_resolver.core.watch.Flow`."""
        with self.lock:
            if not self.closed:
                with self._deciding:
                    found = self._machine.received(message, monotonic())
                self._connections.perform(found)
                self._publish()
                self._nudge()
            return self._machine.watch.current

    def lost(self, code: str, details: str, *, misread: bool = False) -> Lost:
        """See `client_resolver.core.watch.Flow`."""
        with self.lock:
            with self._deciding:
                lost = self._machine.lost(code, details, monotonic(), misread=misread)
            if not self.closed:
                self._publish()
            return lost

    def fallback_failed(self, why: str) -> None:
        """See `client_resolver.core.watch.Flow`."""
        with self.lock:
            with self._deciding:
                self._machine.fallback_failed(why)
            if not self.closed:
                self._publish()

    def pick(self) -> Backend | None:
        """Pick a backend that is ready at this moment and count an RPC on it. None: there is none.

        Each pick is to be followed by `release`.
        """
        while (picker := self.outlook.picker) is not None:
            with self._deciding:
                backend = picker.pick()
            if self._takes(backend):
                return backend
        return None

    def pick_for(self, rpc: Rpc[Handle]) -> Backend | None:
        """Pick as `pick` does, by an RPC's key, and a backend that it wasn't tried on.

        Where backends are connected when they are picked, one that is idle is asked to connect, and
        the RPC is put on one that is ready, if there is any.
        """
        while True:
            outlook = self.outlook
            if outlook.idle_picker is not None:
                backend = self._ask_idle(rpc, outlook)
                if backend is not None:
                    return backend
                outlook = self.outlook
            picker = outlook.picker
            if picker is None:
                return None
            with self._deciding:
                backend = picker.pick(rpc.key, rpc.tried)
            if self._takes(backend):
                return backend

    def _ask_idle(self, rpc: Rpc[Handle], outlook: Outlook[Handle]) -> Backend | None:
        """Pick among all, and connect what is idle. Return the backend if it is ready."""
        asked = rpc.asked
        idle = outlook.idle_picker
        if idle is None or (asked is not None and asked.promising):
            return None
        with self.lock:
            with self._deciding:
                rpc.asked = asked = idle.pick(rpc.key, rpc.tried)
                ready = asked.connectivity is _READY
                found = [] if ready else self._machine.idle_picked(asked, monotonic())
            if not ready:
                self._connections.perform(found)
                self._publish()
                self._nudge()
                return None
        return asked if self._takes(asked) else None

    def _takes(self, backend: Backend) -> bool:
        """Count an RPC on a backend, and take it back if the backend isn't ready any more."""
        # First counted, then looked at: the pool does it the other way round, so a backend whose
        # connection is about to be closed is seen by one of the two.
        backend.in_flight.append(None)
        handle = backend.handle
        if handle is not None and backend.accepting and handle.state(False) is _READY:
            return True
        self.release(backend)
        self.observe(backend)
        return False

    def release(self, backend: Backend) -> None:
        """Take in that an RPC has ended."""
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            with self.lock:
                with self._deciding:
                    found = self._machine.drained(backend, monotonic())
                self._connections.perform(found)
                self._nudge()

    def observe(self, backend: Backend, used: Handle | None = None) -> bool:
        """Look at a backend's connection and take in its state. Return whether it is ready.

        Args:
            backend: The backend.
            used: The one of its connections that the answer is about. None: all together.
        """
        with self.lock:
            handle = backend.handle
            if handle is None:
                self._publish()
                return False
            state = handle.state(False)
            if state is not backend.connectivity:
                self._observed(backend, state)
                self._publish()
                self._nudge()
            return (state if used is None else used.state(False)) is _READY

    def _observed(self, backend: Backend, state: Connectivity) -> None:
        before = backend.connectivity
        with self._deciding:
            found = self._machine.observed(backend, state)
        self._settle(backend, before, found)

    def _explain(self) -> None:
        """Find out why connections fail, and have that told."""
        for backend, handle, details in self._connections.explain():
            with self.lock:
                if backend.handle is not handle:
                    continue
                state = handle.state(False)
                if state is Connectivity.TRANSIENT_FAILURE:
                    before = backend.connectivity
                    with self._deciding:
                        found = self._machine.explained(backend, details)
                    self._settle(backend, before, found)
                else:
                    self._observed(backend, state)
                self._publish()

    def _settle(self, backend: Backend, before: Connectivity, found: Sequence[Action]) -> None:
        """Do what follows from what was seen of a connection."""
        self._connections.perform(found)
        state = backend.connectivity
        failed = state is Connectivity.TRANSIENT_FAILURE or before is _READY
        if failed and before is not state and self._resolution is not None:
            self._resolution.backend_failed()

    def wait(
        self, deadline: float | None, *, wait_for_ready: bool, rpc: Rpc[Handle] | None = None
    ) -> Backend:
        """Wait for a backend and pick it.

        Args:
            deadline: When to give up, on the monotonic clock. None: never.
            wait_for_ready: Also wait where the outlook is a failure.
            rpc: Pick for this one.

        Raises:
            EndedCall: There is none: with the code and the text that the RPC fails with.
        """
        self.start()
        while True:
            seen = self.outlook
            if self.closed:
                raise EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!")
            backend = self.pick() if rpc is None else self.pick_for(rpc)
            if backend is not None:
                return backend
            ended = self.verdict(deadline, wait_for_ready=wait_for_ready, rpc=rpc)
            if ended is not None:
                raise ended
            with self._changed:
                if self.outlook is seen and not self.closed:
                    self._changed.wait(None if deadline is None else deadline - monotonic())

    def verdict(
        self, deadline: float | None, *, wait_for_ready: bool, rpc: Rpc[Handle] | None = None
    ) -> EndedCall | None:
        """Say how an RPC ends that finds no backend now. None: it waits."""
        outlook = self.outlook
        if outlook.failure is not None and not wait_for_ready:
            code = outlook.failure.code.name
            return self.end(code, outlook.failure.details, rpc)
        if deadline is not None and deadline <= monotonic():
            return self.end("DEADLINE_EXCEEDED", outlook.overdue("a backend"), rpc)
        if rpc is not None and outlook.picker is None:
            refused = rpc.waits()
            if refused is not None:
                return self.end(refused.code.name, refused.details, rpc)
        return None

    def end(self, code: str, why: str, rpc: Rpc[Handle] | None = None) -> EndedCall:
        """Make the end of an RPC that is decided here. The text names the channel's target."""
        text = why if rpc is None else rpc.explain(why)
        return EndedCall(grpc.StatusCode[code], self.settings.explain(text))

    def sleep(self, until: float) -> None:
        """Wait for a time. Returns early when the channel is closed."""
        with self._changed:
            while not self.closed and (left := until - monotonic()) > 0:
                self._changed.wait(left)

    def defer(self, call: Pending) -> None:
        """Let a call go on when there is another outlook than it has seen, or when it wants to."""
        with self.lock:
            closed = self.closed
            if not closed:
                self.pending.add(call)
            wake_at = call.wake_at
            if self.outlook is not call.seen or (wake_at is not None and wake_at < self._wakes_at):
                self._nudge()
        if closed:
            # Nobody else would have it end.
            call.advance()

    def undefer(self, call: Pending) -> None:
        """Undo `defer`."""
        if call in self.pending:
            with self.lock:
                self.pending.remove(call)

    def listen(self, listener: Listener) -> None:
        """Tell a listener the state of the channel now and whenever it changes."""
        with self.lock:
            self._subscriptions.listen(listener)
            self._nudge()

    def unlisten(self, listener: Listener) -> None:
        """Undo `listen`."""
        with self.lock:
            self._subscriptions.unlisten(listener)

    def snapshot(self) -> ChannelSnapshot:
        """Return the whole state of the channel."""
        with self.lock, self._deciding:
            found = self._machine.snapshot(monotonic())
        return of_channel(found, started=self.started, closed=self.closed)

    def close(self) -> None:
        """Stop everything, and cancel the RPCs in flight. Returns in bounded time."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self._subscriptions.clear()
            with self._deciding:
                found = self._machine.close()
                # What picks goes by it: there is nothing to pick from any more.
                self.outlook = self._machine.outlook
            self._connections.perform(found)
            self._publish()
            self._changed.notify_all()
            self._nudge()
            thread, self._thread = self._thread, None
            resolution = self._resolution
        if resolution is not None:
            resolution.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)
        self._load_reader.close(_JOIN)
        self._connections.shut()
        self._advance(self.pending.all())
        if self._announced:
            self._subscriptions.tell()
            observers, target = self.settings.observers, self.settings.target.text
            tell(observers, Observer.channel_closed, target, self.snapshot)

    def abandon(self) -> None:
        """Have the threads end by themselves within a second: nobody uses the channel any more."""
        # The garbage collector calls this on any thread at any time, whatever locks it holds.
        self._abandoned = True

    def _run(self) -> None:
        while True:
            if self._abandoned:
                self.close()
            with self.lock:
                if self.closed:
                    return
                with self._deciding:
                    found = self._machine.tick(monotonic())
                self._connections.perform(found)
                pause = self._connections.look(list(self._machine.pool), self._observed)
                self._publish()
                due = self.pending.due(self.outlook)
                self._subscriptions.note(self.state_name())
            self._connections.shut()
            self._explain()
            self._subscriptions.tell()
            self._advance(due)
            building = self._build()
            with self.lock:
                idle = not self._working and not self._connections.unexplained
                if idle and not building and not self.closed:
                    self._wakes_at = self._next_wake(pause)
                    self._work.wait(max(0.0, self._wakes_at - monotonic()))
                    self._wakes_at = 0.0
                self._working = False

    def _build(self) -> bool:
        """Build a picker, for a moment, if one is to be built. Return whether there is more."""
        build = self._machine.build
        if build is None:
            return False
        # With no lock: RPCs go on with the picker of the moment.
        until = monotonic() + _BUILDING
        while not build.step():
            if monotonic() >= until:
                return True
        with self.lock:
            with self._deciding:
                self._machine.built(build)
            self._publish()
        return True

    def _next_wake(self, pause: float) -> float:
        times = [monotonic() + pause]
        times += [at for at in (self.pending.wake_at(), self._machine.wake_at) if at is not None]
        return min(times)

    def _republish(self) -> None:
        with self.lock:
            self._publish()
            # A time of the machine's may have moved.
            self._nudge()

    def _publish(self) -> None:
        machine = self._machine
        with self._deciding:
            published = machine.publish()
            if machine.build is not None:
                self._nudge()
            if published:
                self.outlook = machine.outlook
                self._changed.notify_all()
                self._load_reader.arrange(machine.load_period)
                if self.pending or self._subscriptions:
                    self._nudge()
            if self.settings.observers:
                events = machine.events()
                if events:
                    self._subscriptions.happened(events)
                    self._nudge()

    def reporting(self) -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
        """See `client_resolver.sync.load_reader.Source`."""
        with self.lock:
            ready = [one for one in self._machine.pool if one.ready and not one.draining]
            pairs = [(one, one.handle.parts[0]) for one in ready if one.handle is not None]
            period = None if self.closed else self._machine.load_period
        return period, pairs if period is not None else []

    def loaded(self, backend: Backend, report: LoadReport) -> None:
        """See `client_resolver.sync.load_reader.Source`."""
        self._machine.loaded(backend, report)

    def state_name(self) -> str:
        """The name of the channel's state in `grpc.ChannelConnectivity`."""
        return self.outlook.connectivity.name if self.started else Connectivity.IDLE.name

    def _advance(self, calls: Sequence[Pending]) -> None:
        for call in calls:
            # Before it goes on: another thread may defer it again as soon as it has.
            self.undefer(call)
            if call.advance():
                self.defer(call)

    def _nudge(self) -> None:
        self._working = True
        self._work.notify_all()

    def __repr__(self) -> str:
        return describe(self.settings, self._machine, closed=self.closed, started=self.started)
