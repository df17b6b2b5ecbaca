"""Runs a channel's state machine on a thread: the connections, the timers, those who wait."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from random import Random
from time import monotonic
from typing import Protocol

import grpc

from client_resolver.central import Central, Configured
from client_resolver.core import backend as actions
from client_resolver.core.delta import Delta
from client_resolver.core.events import Event
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Revision, ServerList
from client_resolver.core.outlook import Outlook
from client_resolver.core.snapshot import ChannelSnapshot, of_channel
from client_resolver.core.watch import Lost
from client_resolver.notices import undialled
from client_resolver.observer import Observer
from client_resolver.observing import tell, tell_events
from client_resolver.rpc import Rpc
from client_resolver.rpcs import Rpcs
from client_resolver.settings import Settings, describe
from client_resolver.sync.connection import (
    Action,
    Backend,
    Connection,
    Connections,
    Handle,
    Undialled,
    open_channel,
)
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.forks import follow
from client_resolver.sync.resolution import Resolution

__all__ = ["Driver", "Pending"]

_logger = logging.getLogger("client_resolver")

_READY = Connectivity.READY
_SOON = 0.001
_SELDOM = 0.1
"""Seconds between looks at connections that are not ready: from the first to the second."""
_IDLE = 1.0
"""Seconds between looks at connections that are ready. A pick looks at its own."""
_JOIN = 5.0
"""Seconds that `close` waits for the thread of this module. It never waits that long itself."""

Listener = Callable[[grpc.ChannelConnectivity], None]


class Pending(Protocol):
    """A call that waits for a backend, or for a time, without a thread of its own."""

    @property
    def wake_at(self) -> float | None:
        """When it goes on even if no other outlook comes, on the monotonic clock."""

    @property
    def seen(self) -> Outlook[Handle] | None:
        """The outlook that it found no backend in."""

    def advance(self) -> bool:
        """Try to start or to end the call. Return whether it still waits."""


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
        self._thread: threading.Thread | None = None
        self._resolution: Resolution | None = None
        self.pending: dict[Pending, None] = {}
        self._advanced: Outlook[Handle] | None = None
        self._wakes_at = 0.0
        self._listeners: list[tuple[Listener, list[str]]] = []
        self._events: list[Event] = []
        self._shutting: list[grpc.Channel] = []
        self._pause = _SOON
        self._ready_due = 0.0

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
            starts = connect and not self.started
            if starts:
                self.started = True
                self._resolve()
                self._nudge()
        if starts:
            observers, target = self.settings.observers, self.settings.target.text
            tell(observers, Observer.channel_started, target, self.snapshot)

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
                self._perform(found)
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
                self._perform(found)
                self._publish()
                self._nudge()
            return self._machine.watch.current

    def lost(self, code: str, details: str) -> Lost:
        """See `client_resolver.core.watch.Flow`."""
        with self.lock:
            with self._deciding:
                lost = self._machine.lost(code, details, monotonic())
            if not self.closed:
                self._publish()
            return lost

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
        if idle is None or (asked is not None and asked.accepting and not asked.failing):
            return None
        with self.lock:
            with self._deciding:
                rpc.asked = asked = idle.pick(rpc.key, rpc.tried)
                ready = asked.connectivity is _READY
                found = [] if ready else self._machine.idle_picked(asked, monotonic())
            if not ready:
                self._perform(found)
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
                self._perform(found)
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
        if self._resolution is not None and (
            state is Connectivity.TRANSIENT_FAILURE or backend.connectivity is _READY
        ):
            self._resolution.backend_failed()
        with self._deciding:
            found = self._machine.observed(backend, state)
        self._perform(found)

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
                self.pending[call] = None
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
                self.pending.pop(call, None)

    def listen(self, listener: Listener) -> None:
        """Tell a listener the state of the channel now and whenever it changes."""
        with self.lock:
            self._listeners.append((listener, []))
            self._nudge()

    def unlisten(self, listener: Listener) -> None:
        """Undo `listen`."""
        with self.lock:
            for entry in self._listeners:
                if entry[0] == listener:
                    self._listeners.remove(entry)
                    break

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
            self._listeners.clear()
            with self._deciding:
                found = self._machine.close()
                # What picks goes by it: there is nothing to pick from any more.
                self.outlook = self._machine.outlook
            self._perform(found)
            self._publish()
            self._changed.notify_all()
            self._nudge()
            thread, self._thread = self._thread, None
            resolution = self._resolution
        if resolution is not None:
            resolution.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)
        self._shut()
        self._advance(list(self.pending))
        if self.started:
            self._tell_events()
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
                self._perform(found)
                pause = self._look()
                self._publish()
                due = self._due()
                tells = list(self._news())
            self._shut()
            self._tell_events()
            for listener, state in tells:
                _tell(listener, state)
            self._advance(due)
            with self.lock:
                if not self._working and not self.closed:
                    self._wakes_at = self._next_wake(pause)
                    self._work.wait(max(0.0, self._wakes_at - monotonic()))
                    self._wakes_at = 0.0
                self._working = False

    def _look(self) -> float:
        now = monotonic()
        at_ready = self._ready_due <= now
        if at_ready:
            self._ready_due = now + _IDLE
        settled = True
        for backend in list(self._machine.pool):
            if at_ready and isinstance(backend.handle, Undialled):
                backend.handle = self._open(backend)
            handle, before = backend.handle, backend.connectivity
            if handle is None or backend.draining or (before is _READY and not at_ready):
                continue
            state = handle.state(False)
            if state is not before or state is Connectivity.IDLE:
                self._observed(backend, state)
                self._pause = _SOON
            settled = settled and state is _READY
        if settled:
            return _IDLE
        self._pause = min(self._pause * 1.5, _SELDOM)
        return self._pause

    def _next_wake(self, pause: float) -> float:
        times = [time for call in self.pending if (time := call.wake_at) is not None]
        if self._machine.wake_at is not None:
            times.append(self._machine.wake_at)
        return min([monotonic() + pause, *times])

    def _perform(self, found: Sequence[Action]) -> None:
        for action in found:
            backend = action.backend
            match action:
                case actions.Open():
                    backend.handle = self._open(backend)
                    backend.handle.state(True)
                    self._pause = _SOON
                case actions.Connect():
                    if backend.handle is not None:
                        backend.handle.state(True)
                        self._pause = _SOON
                case actions.Close():
                    handle, backend.handle = backend.handle, None
                    for part in handle.parts if handle is not None else ():
                        part.closed = True
                        self._shutting.append(part.channel)

    def _open(self, backend: Backend) -> Handle:
        settings = self.settings
        target = backend.endpoint.address.target
        try:
            credentials, options = settings.dialling(backend.endpoint, self._central.config)
            parts = [
                Connection(
                    open_channel(
                        target,
                        credentials,
                        # Channels of equal arguments may share one connection.
                        options if number == 0 else (*options, ("lookaside.connection", number)),
                        settings.compression,
                    )
                )
                for number in range(settings.connections_per_backend)
            ]
        except Exception as error:  # noqa: BLE001
            # Rather no connection than one with other credentials. It is tried again.
            undialled(settings, backend, error)
            return Undialled()
        return parts[0] if len(parts) == 1 else Connections(parts)

    def _republish(self) -> None:
        with self.lock:
            self._publish()
            # A time of the machine's may have moved.
            self._nudge()

    def _publish(self) -> None:
        machine = self._machine
        with self._deciding:
            if machine.publish():
                self.outlook = machine.outlook
                self._changed.notify_all()
                if self.pending or self._listeners:
                    self._nudge()
            if self.settings.observers:
                events = machine.events()
                if events:
                    self._events.extend(events)
                    self._nudge()

    def _tell_events(self) -> None:
        if self._events:
            with self.lock:
                events, self._events = self._events, []
            tell_events(self.settings.observers, self.settings.target.text, events)

    def _news(self) -> Iterator[tuple[Listener, str]]:
        name = self.state_name()
        for listener, last in self._listeners:
            if last != [name]:
                last[:] = [name]
                yield listener, name

    def state_name(self) -> str:
        """The name of the channel's state in `grpc.ChannelConnectivity`."""
        return self.outlook.connectivity.name if self.started else Connectivity.IDLE.name

    def _due(self) -> list[Pending]:
        """Return the calls that may go on now."""
        outlook, now = self.outlook, monotonic()
        return [
            call
            for call in self.pending
            if call.seen is not outlook or ((at := call.wake_at) is not None and at <= now)
        ]

    def _advance(self, calls: Sequence[Pending]) -> None:
        for call in calls:
            # Before it goes on: another thread may defer it again as soon as it has.
            self.undefer(call)
            if call.advance():
                self.defer(call)

    def _shut(self) -> None:
        with self.lock:
            shutting, self._shutting = self._shutting, []
        for channel in shutting:
            channel.close()

    def _nudge(self) -> None:
        self._working = True
        self._work.notify_all()

    def __repr__(self) -> str:
        return describe(self.settings, self._machine, closed=self.closed, started=self.started)


def _tell(listener: Listener, state: str) -> None:
    try:
        listener(grpc.ChannelConnectivity[state])
    except Exception:
        _logger.exception("a connectivity callback failed")
