"""Runs a channel's state machine on a thread: the connections, the timers, those who wait."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from random import Random
from time import monotonic
from typing import Protocol

import grpc

from client_resolver.central import Central, Configured
from client_resolver.core import backends
from client_resolver.core.delta import Delta
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Failure, Revision, ServerList
from client_resolver.core.outlook import Outlook
from client_resolver.core.watch import Lost
from client_resolver.settings import Settings, describe
from client_resolver.sync.connection import Action, Backend, Connection, open_channel
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.forks import follow
from client_resolver.sync.watcher import Watcher

__all__ = ["Driver", "Pending"]

_logger = logging.getLogger("client_resolver")

_READY = Connectivity.READY
_SOON = 0.001
_SELDOM = 0.1
"""Seconds between looks at connections that are not ready: from the first to the second."""
_IDLE = 1.0
"""Seconds between looks at connections that are ready. A pick looks at its own."""
_JOIN = 5.0
"""Seconds that `close` waits for a thread of this module. None of them waits that long."""


class Pending(Protocol):
    """A call that waits for a backend without a thread of its own."""

    @property
    def deadline(self) -> float | None:
        """When it ends at the latest, on the monotonic clock."""

    def advance(self) -> bool:
        """Try to start or to end the call. Return whether it still waits."""


class Driver:
    """Owns everything of a channel that has a thread or a socket.

    Nothing runs before the first use: a channel may be made in a process that forks, and each child
    starts its own.

    `lock` guards the state machine. It is never held during an RPC, nor while a callback runs.
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
        self._picking = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._work = threading.Condition(self.lock)
        self._working = False
        self._stop = threading.Event()
        self._machine: Machine[Connection] = self.settings.machine(
            Random(),  # noqa: S311
            self._central.adopt,
        )
        self.outlook: Outlook[Connection] = self._machine.outlook
        self._threads: list[threading.Thread] = []
        self._watcher: Watcher | None = None
        self._pending: set[Pending] = set()
        self._listeners: list[tuple[Callable[[grpc.ChannelConnectivity], None], list[str]]] = []
        self._shutting: list[grpc.Channel] = []
        self._pause = _SOON
        self._ready_due = 0.0

    def forget(self) -> None:
        """See `client_resolver.sync.forks.Forkable`."""
        # The parent's channels are not closed: their sockets are the parent's.
        self._inherited = self._machine
        was_closed = self.closed
        self._reset()
        self.closed = was_closed

    def start(self, *, connect: bool = True) -> None:
        """Start what isn't running.

        Args:
            connect: Also start the watch and the connections.

        Raises:
            ValueError: The channel is closed.
        """
        with self.lock:
            if self.closed:
                raise ValueError("Cannot invoke RPC on closed channel!")
            if not self._threads:
                self._spawn(self._run, "lookaside-driver")
            if connect and not self.started:
                self.started = True
                fixed = self.settings.fixed()
                if fixed is None:
                    self._watcher = Watcher(self.settings, self, self._stop)
                    self._spawn(self._watcher.run, "lookaside-watch")
                else:
                    self._perform(self._machine.received(fixed, monotonic()))
                    self._publish()
                self._nudge()

    def configure(self, configured: Configured) -> None:
        """Tell the service config that holds, now and whenever it changes."""
        with self.lock:
            self._central.add(configured)

    def begun(self) -> Revision | None:
        """See `client_resolver.sync.watcher.Flow`."""
        with self.lock:
            return self._machine.begun(monotonic())

    def received(self, message: ServerList | Delta) -> None:
        """See `client_resolver.sync.watcher.Flow`."""
        with self.lock:
            if not self.closed:
                self._perform(self._machine.received(message, monotonic()))
                self._publish()
                self._nudge()

    def lost(self, code: str, details: str) -> Lost:
        """See `client_resolver.sync.watcher.Flow`."""
        with self.lock:
            lost = self._machine.lost(code, details, monotonic())
            if not self.closed:
                self._publish()
            return lost

    def pick(self) -> Backend | None:
        """Pick a backend that is ready at this moment and count an RPC on it. None: there is none.

        Each pick is to be followed by `release`.
        """
        while (picker := self.outlook.picker) is not None:
            with self._picking:
                backend = picker.pick()
            # First counted, then looked at: the driver does it the other way round, so a backend
            # that is about to be closed is seen by one of the two.
            backend.in_flight.append(None)
            connection = backend.handle
            if (
                connection is not None
                and not backend.draining
                and connection.state(False) is _READY
            ):
                return backend
            self.release(backend)
            self.observe(backend)
        return None

    def release(self, backend: Backend) -> None:
        """Take in that an RPC has ended."""
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            with self.lock:
                self._nudge()

    def observe(self, backend: Backend) -> bool:
        """Look at a backend's connection and take in its state. Return whether it is ready."""
        with self.lock:
            connection = backend.handle
            if connection is None:
                self._publish()
                return False
            state = connection.state(False)
            if state is not backend.connectivity:
                self._perform(self._machine.observed(backend, state))
                self._publish()
                self._nudge()
            return state is _READY

    def failure(self) -> Failure | None:
        """Why an RPC that doesn't wait for ready fails now. None: it waits."""
        return self.outlook.failure

    def wait(self, deadline: float | None, *, wait_for_ready: bool) -> Backend:
        """Wait for a backend and pick it.

        Args:
            deadline: When to give up, on the monotonic clock. None: never.
            wait_for_ready: Also wait where the outlook is a failure.

        Raises:
            EndedCall: There is none: with the code and the text that the RPC fails with.
        """
        self.start()
        while True:
            seen = self.outlook
            if self.closed:
                raise EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!")
            backend = self.pick()
            if backend is not None:
                return backend
            ended = self.verdict(deadline, wait_for_ready=wait_for_ready)
            if ended is not None:
                raise ended
            with self._changed:
                if self.outlook is seen and not self.closed:
                    self._changed.wait(None if deadline is None else deadline - monotonic())

    def verdict(self, deadline: float | None, *, wait_for_ready: bool) -> EndedCall | None:
        """Say how an RPC ends that finds no backend now. None: it waits."""
        outlook, explain = self.outlook, self.settings.explain
        if outlook.failure is not None and not wait_for_ready:
            code = grpc.StatusCode[outlook.failure.code.name]
            return EndedCall(code, explain(outlook.failure.details))
        if deadline is not None and deadline <= monotonic():
            why = f"the deadline passed while waiting for {outlook.waiting}"
            return EndedCall(grpc.StatusCode.DEADLINE_EXCEEDED, explain(why))
        return None

    def defer(self, call: Pending) -> None:
        """Let a call go on when the outlook changes, and at its deadline."""
        with self.lock:
            self._pending.add(call)
            self._nudge()

    def listen(self, listener: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Tell a listener the state of the channel now and whenever it changes."""
        with self.lock:
            self._listeners.append((listener, []))
            self._nudge()

    def unlisten(self, listener: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Undo `listen`."""
        with self.lock:
            for entry in self._listeners:
                if entry[0] == listener:
                    self._listeners.remove(entry)
                    break

    def close(self) -> None:
        """Stop everything, and cancel the RPCs in flight. Returns in bounded time."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self._stop.set()
            self._listeners.clear()
            self._perform(self._machine.close())
            self._publish()
            self._changed.notify_all()
            self._nudge()
            threads, self._threads = self._threads, []
            watcher = self._watcher
        if watcher is not None:
            watcher.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN)
        self._shut()
        self._advance()

    def abandon(self) -> None:
        """Have the threads end by themselves: nobody uses the channel any more."""
        self._stop.set()
        with self.lock:
            self._abandoned = True
            self._nudge()

    def _run(self) -> None:
        while True:
            if self._abandoned:
                self.close()
            with self.lock:
                if self.closed:
                    return
                self._perform(self._machine.tick(monotonic()))
                pause = self._look()
                self._publish()
                pending = bool(self._pending)
                tells = list(self._news())
            self._shut()
            for listener, state in tells:
                _tell(listener, state)
            if pending:
                self._advance()
            with self.lock:
                if not self._working and not self.closed:
                    self._work.wait(self._until_next(pause))
                self._working = False

    def _look(self) -> float:
        now = monotonic()
        at_ready = self._ready_due <= now
        if at_ready:
            self._ready_due = now + _IDLE
        settled = True
        for backend in self._machine.pool:
            connection, before = backend.handle, backend.connectivity
            if connection is None or backend.draining or (before is _READY and not at_ready):
                continue
            state = connection.state(False)
            if state is not before or state is Connectivity.IDLE:
                self._perform(self._machine.observed(backend, state))
                self._pause = _SOON
            settled = settled and state is _READY
        if settled:
            return _IDLE
        self._pause = min(self._pause * 1.5, _SELDOM)
        return self._pause

    def _until_next(self, pause: float) -> float:
        times = [call.deadline for call in self._pending if call.deadline is not None]
        if self._machine.wake_at is not None:
            times.append(self._machine.wake_at)
        return max(0.0, min([pause, *(time - monotonic() for time in times)]))

    def _perform(self, actions: Sequence[Action]) -> None:
        settings = self.settings
        for action in actions:
            backend = action.backend
            match action:
                case backends.Open():
                    channel = open_channel(
                        backend.endpoint.address.target,
                        settings.credentials,
                        settings.connection_options(self._central.config),
                        settings.compression,
                    )
                    backend.handle = Connection(channel)
                    backend.handle.state(True)
                    self._pause = _SOON
                case backends.Connect():
                    if backend.handle is not None:
                        backend.handle.state(True)
                case backends.Close():
                    connection, backend.handle = backend.handle, None
                    if connection is not None:
                        connection.closed = True
                        self._shutting.append(connection.channel)

    def _publish(self) -> None:
        if self._machine.publish():
            self.outlook = self._machine.outlook
            self._changed.notify_all()
            if self._pending or self._listeners:
                self._nudge()

    def _news(self) -> Iterator[tuple[Callable[[grpc.ChannelConnectivity], None], str]]:
        name = self.state_name()
        for listener, last in self._listeners:
            if last != [name]:
                last[:] = [name]
                yield listener, name

    def state_name(self) -> str:
        """The name of the channel's state in `grpc.ChannelConnectivity`."""
        return self.outlook.connectivity.name if self.started else Connectivity.IDLE.name

    def _advance(self) -> None:
        with self.lock:
            waiting = list(self._pending)
        for call in waiting:
            if not call.advance():
                with self.lock:
                    self._pending.discard(call)

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

    def _spawn(self, run: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _tell(listener: Callable[[grpc.ChannelConnectivity], None], state: str) -> None:
    try:
        listener(grpc.ChannelConnectivity[state])
    except Exception:
        _logger.exception("a connectivity callback failed")
