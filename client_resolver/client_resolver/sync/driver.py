"""Runs a channel's state machine on a thread: the connections, the timers, those who wait."""

import logging
import math
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from time import monotonic

import grpc

from client_resolver.call.accounting import Rpc
from client_resolver.call.shared import Rpcs
from client_resolver.config.effective_config import ConfigListener, EffectiveConfig
from client_resolver.config.settings import Settings, describe
from client_resolver.core import backend as backends
from client_resolver.core.channel_state import Outlook
from client_resolver.core.delta import Delta
from client_resolver.core.guard import Guard
from client_resolver.core.load import LoadReport
from client_resolver.core.machine import Machine
from client_resolver.core.model import Code, Connectivity, Revision, ServerList
from client_resolver.core.picker import Picker
from client_resolver.core.snapshot import ChannelSnapshot, of_channel
from client_resolver.core.watch import Lost
from client_resolver.sync.backend_connections import IDLE, BackendConnections
from client_resolver.sync.connection import READY, Action, Backend, Connection, Handle, Place
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.forks import follow
from client_resolver.sync.load_reader import LoadReader
from client_resolver.sync.nesting import is_nested, is_own_thread
from client_resolver.sync.resolution import Resolution
from client_resolver.sync.subscriptions import Listener, Subscriptions
from client_resolver.sync.waiting_calls import Pending, WaitingCalls
from client_resolver.sync.wakeups import Wakeup, Wakeups
from client_resolver.sync.work_serializer import WorkSerializer
from client_resolver.telemetry.dispatch import tell
from client_resolver.telemetry.observer import Observer

__all__ = ["Driver"]

_logger = logging.getLogger("client_resolver")

_BUILDING = 0.02
"""Seconds for which the thread builds a picker before it looks at everything else again."""
_JOIN = 5.0
"""Seconds that `close` waits for the threads of the channel. Only one that a resolver of the
application's or the system's DNS holds up takes longer, and it ends by itself."""
_WAITS_FOR_ITSELF = "the thread that would have to wait for a backend is one that connects them"
_REMEMBER = 1.0
"""Seconds between snapshots that are kept for those who come while the state changes."""


class Driver:
    """Owns everything of a channel that has a thread or a socket.

    Nothing runs before the first use: a channel may be made in a process that forks, and each child
    starts its own.

    Every method may be called on any thread at any time, by a signal handler or a finaliser that
    interrupts another of them as well: none waits for a lock that its own thread holds. All that
    changes goes through `_serializer`; `docs/threads.md` has the whole of it.

    Attributes:
        outlook: What the next RPC meets: the state that was published last. It never changes, so
            that whoever picks goes by one that is whole.
        closed: Nothing is begun any more.
        started: The channel has been used, so that its backends are looked up and connected.
        pending: The calls that wait.
        rpcs: What the channel's RPCs have in common.
        binding: Held while a multicallable of grpc's is made.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._central = EffectiveConfig(settings)
        self._reset()
        follow(self)

    def _reset(self) -> None:
        self.closed = False
        self.started = False
        self._abandoned = False
        self._starting = Guard()
        self._announced = False
        # Two who start it at once may make two threads: the one that has this is the driver's.
        self._driving = threading.Lock()
        self._runs = False
        self._threads: deque[threading.Thread] = deque()
        self._work = Wakeup()
        self._wakes_at = math.inf
        self._changes = Wakeups()
        self._serializer = WorkSerializer(self._work.set)
        rng = Random()  # noqa: S311
        self._machine: Machine[Handle] = self.settings.machine(rng, self._central.adopt, monotonic)
        self.outlook: Outlook[Handle] = self._machine.outlook
        self.rpcs: Rpcs[Handle] = Rpcs(
            self.settings,
            self._machine,
            now=monotonic,
            rng=rng,
            attempt_failed=self._attempt_failed,
            wake=self._wake,
        )
        self._central.add(self.rpcs)
        self.binding = Guard()
        self._load_reader = LoadReader(self.settings, self)
        self._connections = BackendConnections(self.settings, self._central, self._work.set)
        self._subscriptions = Subscriptions(self.settings)
        self.pending = WaitingCalls()
        self._resolution: Resolution | None = None
        self._resolves = False
        self._connects = False
        self._looked = False
        self._remembered = self._machine.snapshot(monotonic())
        self._remember_at: float | None = None

    def forget(self) -> None:
        """See `client_resolver.sync.forks.Forkable`."""
        # The parent's channels are not closed: their sockets are the parent's.
        self._inherited = (self._machine, self._resolution)
        was_closed = self.closed
        self._reset()
        self.closed = was_closed

    def start(self, *, connect: bool = True) -> None:
        """Start what isn't running. Waits for no more than a thread to begin.

        Args:
            connect: Also start the resolution and the connections.

        Raises:
            ValueError: The channel is closed.
        """
        if self.closed:
            raise ValueError("Cannot invoke RPC on closed channel!")
        if self._runs and (self.started or not connect):
            return
        if connect and not self.started:
            # Observers are told first, and no other thread's RPC goes on before they have been.
            self._starting.run(self._announce, _nothing)
            self.started = True
        if not self._runs:
            thread = threading.Thread(target=self._run, name="lookaside-driver", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.set()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            observers, target = self.settings.observers, self.settings.target.text
            tell(observers, Observer.channel_started, target, self.snapshot)

    def resolve_now(self) -> None:
        """Ask for the backends again, at once."""
        self._resolves = True
        self.start()
        self._work.set()

    def connect(self) -> None:
        """Start, and have a backend connected where none is unless it is picked."""
        self._connects = True
        self.start()
        self._work.set()

    def configure(self, configured: ConfigListener) -> None:
        """Tell the service config that holds, now and whenever it changes."""
        self._central.add(configured)

    def begun(self) -> Revision | None:
        """See `client_resolver.core.watch.ListSink`."""
        return self._serializer.call(lambda: self._machine.begun(monotonic()))

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> ServerList | None:
            if not self.closed:
                self._carry_out(self._machine.received(message, monotonic()))
            return self._machine.watch.current

        return self._serializer.call(take)

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> Lost:
            lost = self._machine.lost(code, details, monotonic(), misread=misread)
            if not self.closed:
                self._publish()
            return lost

        return self._serializer.call(take)

    def fallback_failed(self, why: str) -> None:
        """See `client_resolver.core.watch.ListSink`."""

        def take() -> None:
            self._machine.fallback_failed(why)
            if not self.closed:
                self._publish()

        self._serializer.call(take)

    def pick(self) -> Place | None:
        """Pick a backend that is ready at this moment and count an RPC on it. None: there is none.

        Each pick is to be followed by `release`.
        """
        picker = self.outlook.picker
        if picker is None:
            return None
        backend = picker.pick()
        place: Place = backends.Place(backend)
        handle = backend.handle
        # First counted, then looked at: the pool does it the other way round, so a backend whose
        # connection is about to be closed is seen by one of the two.
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return self._pick(0, (), [backend])

    def pick_for(self, rpc: Rpc[Handle]) -> Place | None:
        """Pick as `pick` does, by an RPC's key, and a backend that it wasn't tried on.

        Where backends are connected when they are picked, one that is idle is asked to connect, and
        the RPC is put on one that is ready, if there is any.
        """
        outlook = self.outlook
        idle = outlook.idle_picker
        if idle is not None:
            asked = self._ask_idle(rpc, idle)
            if asked is not None:
                return asked
            outlook = self.outlook
        picker = outlook.picker
        if picker is None:
            return None
        backend = picker.pick(rpc.key, rpc.tried)
        place: Place = backends.Place(backend)
        handle = backend.handle
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return self._pick(rpc.key, rpc.tried, [backend])

    def _pick(self, key: int, tried: Collection[object], refused: list[Backend]) -> Place | None:
        """Pick among those that have not just turned out not to be ready."""
        while (picker := self.outlook.picker) is not None:
            backend = picker.pick(key, (*tried, *refused))
            place = self._take(backend)
            if place is not None:
                return place
            if backend in refused:
                # The driver's thread is to take in first what was seen here.
                return None
            refused.append(backend)
        return None

    def _ask_idle(self, rpc: Rpc[Handle], idle: Picker[Backend]) -> Place | None:
        """Pick among all, and connect what is idle. Return a place if it is ready."""
        asked = rpc.asked
        if asked is not None and asked.promising:
            return None
        rpc.asked = picked = idle.pick(rpc.key, rpc.tried)
        if picked.connectivity is READY:
            return self._take(picked)
        self._serializer.await_post(
            lambda: self._carry_out(self._machine.idle_picked(picked, monotonic()))
        )
        return None

    def _take(self, backend: Backend) -> Place | None:
        """Count an RPC on a backend, unless it isn't ready any more."""
        place: Place = backends.Place(backend)
        handle = backend.handle
        if handle is not None and backend.accepting and handle.state(False) is READY:
            return place
        self._refused(place)
        return None

    def _refused(self, place: Place) -> None:
        self.release(place)
        self.observe(place.backend)

    def release(self, place: Place) -> None:
        """An RPC has ended. Doing so again does nothing."""
        place.give_back()
        backend = place.backend
        if backend.draining:
            self.drained(backend)

    def drained(self, backend: Backend) -> None:
        """Take in that an RPC of a backend that drains has ended. The driver looks as well."""
        if not backend.in_flight:
            self._serializer.post(
                lambda: self._carry_out(self._machine.drained(backend, monotonic()))
            )

    def observe(self, backend: Backend, used: Handle | None = None) -> bool:
        """Look at a backend's connection and take in its state. Return whether it is ready.

        Args:
            backend: The backend.
            used: The one of its connections that the answer is about. None: all together.
        """
        handle = backend.handle
        if handle is None:
            self._serializer.post(self._publish)
            return False
        state = handle.state(False)
        if state is not backend.connectivity:
            self._serializer.post(lambda: self._look_again(backend))
        return (state if used is None else used.state(False)) is READY

    def _look_again(self, backend: Backend) -> None:
        handle = backend.handle
        state = None if handle is None else handle.look()
        if state is not None:
            self._observed(backend, state)
        else:
            self._connections.look_soon()
        self._publish()
        # Whoever saw the state before this was taken in waits for it, whatever it came to.
        self._looked = True
        self._changes.set()
        self._work.set()

    def _observed(self, backend: Backend, state: Connectivity) -> None:
        before = backend.connectivity
        self._settle(backend, before, self._machine.observed(backend, state))

    def _explain(self) -> None:
        """Have it found out why connections fail, and take in what was."""
        self._connections.explain()
        for backend, handle, why in self._connections.reasons():
            self._serializer.call(partial(self._explained, backend, handle, why))

    def _explained(self, backend: Backend, handle: Handle, why: str) -> None:
        if backend.handle is not handle:
            return
        state = handle.look()
        if state is None or state is Connectivity.TRANSIENT_FAILURE:
            before = backend.connectivity
            self._settle(backend, before, self._machine.explained(backend, why))
        else:
            self._observed(backend, state)
        self._publish()

    def _settle(self, backend: Backend, before: Connectivity, found: Sequence[Action]) -> None:
        """Do what follows from what was seen of a connection."""
        self._connections.perform(found)
        state = backend.connectivity
        failed = state is Connectivity.TRANSIENT_FAILURE or before is READY
        if failed and before is not state and self._resolution is not None:
            self._resolution.backend_failed()

    def _attempt_failed(
        self, backend: Backend, code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""

        def take() -> None:
            if self._machine.failed(backend, code, seconds, now, pushback=pushback):
                self._publish()
                # A time of the machine's may have come up.
                self._work.set()

        # It may eject the backend: the thread's next RPC is not to go there any more.
        self._serializer.await_post(take)

    def _wake(self, now: float) -> None:
        """See `client_resolver.core.pool.Pool.wake`."""

        def wake() -> None:
            self._machine.pool.wake(now)
            self._work.set()

        self._serializer.post(wake)

    def wait(
        self, deadline: float | None, *, wait_for_ready: bool, rpc: Rpc[Handle] | None = None
    ) -> Place:
        """Wait for a backend and pick it.

        Args:
            deadline: When to give up, on the monotonic clock. None: never.
            wait_for_ready: Also wait where the outlook is a failure.
            rpc: Pick for this one.

        Raises:
            EndedCall: There is none: with the code and the text that the RPC fails with. So it is
                where this thread would wait for itself, as in an observer or a finaliser.
        """
        self.start()
        changed = Wakeup()
        self._changes.add(changed)
        try:
            while True:
                if self.closed:
                    raise EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!")
                place = self.pick() if rpc is None else self.pick_for(rpc)
                if place is not None:
                    return place
                ended = self.verdict(deadline, wait_for_ready=wait_for_ready, rpc=rpc)
                if ended is not None:
                    raise ended
                if is_own_thread() or self._serializer.held:
                    raise self.end("UNAVAILABLE", _WAITS_FOR_ITSELF, rpc)
                changed.wait(None if deadline is None else deadline - monotonic())
        finally:
            self._changes.remove(changed)

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
        changed = Wakeup()
        self._changes.add(changed)
        try:
            while not self.closed and (left := until - monotonic()) > 0:
                changed.wait(left)
        finally:
            self._changes.remove(changed)

    def defer(self, call: Pending) -> bool:
        """Let a call go on when there is another outlook than it has seen, or when it wants to.

        Returns:
            Whether somebody will. If not, the channel is closed, and the call is to end.
        """
        self.pending.add(call)
        if self.closed:
            self.pending.remove(call)
            return False
        wake_at = call.wake_at
        if self.outlook is not call.seen or (wake_at is not None and wake_at < self._wakes_at):
            self._work.set()
        return True

    def undefer(self, call: Pending) -> None:
        """Undo `defer`."""
        self.pending.remove(call)

    def nudge(self) -> None:
        """Have the driver's thread look at what waits."""
        self._work.set()

    def listen(self, listener: Listener) -> None:
        """Tell a listener the state of the channel now and whenever it changes."""
        self._subscriptions.listen(listener)
        self._work.set()

    def unlisten(self, listener: Listener) -> None:
        """Undo `listen`."""
        self._subscriptions.unlisten(listener)

    def snapshot(self) -> ChannelSnapshot:
        """Return the whole state of the channel.

        Who asks while his own thread is changing it gets the last that was whole.
        """
        found = self._serializer.read(lambda: self._machine.snapshot(monotonic()))
        if found is None:
            found = self._remembered
        waiting = len(self.pending)
        return of_channel(
            found, self.rpcs.breaker, waiting, started=self.started, closed=self.closed
        )

    def close(self) -> None:
        """Stop everything, and cancel the RPCs in flight. Returns in bounded time.

        The driver's thread does it. So it is done even if an exception of a signal handler comes
        in between, or if the thread that calls this is in the middle of something of the channel's:
        then nothing is waited for.
        """
        self.closed = True
        self.outlook = _closed_outlook(self.outlook)
        self._work.set()
        self._changes.set()
        if is_nested():
            return
        for thread in list(self._threads):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(_JOIN)

    def abandon(self) -> None:
        """Have the threads end by themselves: nobody uses the channel any more."""
        # The garbage collector calls this on any thread at any time.
        self._abandoned = True
        self._work.set()

    def _run(self) -> None:
        """Drive the channel until it is closed. On the driver's thread, as all that follows."""
        if not self._driving.acquire(blocking=False):
            return
        self._runs = True
        while not self.closed and not self._abandoned:
            try:
                wakes_at = self._go_round()
            except Exception:
                # Of the application's own code, as a policy's. Nothing may end this thread.
                _logger.exception("%s: going round failed", self.settings.target.text)
                wakes_at = monotonic() + IDLE
            # Whoever waits for something earlier sets the wakeup from here on.
            self._wakes_at = wakes_at
            self._work.wait(wakes_at - monotonic())
            self._wakes_at = math.inf
        self.closed = True
        self._finish()

    def _go_round(self) -> float:
        """Do what is due. Return when something is due next."""
        self._begin()
        looked, self._looked = self._looked, False
        wakes_at = self._serializer.call(self._tick)
        self._connections.shut()
        self._explain()
        if self._connections.unexplained:
            self._work.set()
        self._subscriptions.tell()
        self._advance(self.pending.all() if looked else self.pending.due(self.outlook))
        if self._build():
            self._work.set()
        # Whatever moves a time of the machine's from here on sets the wakeup.
        pending_at = self.pending.wake_at()
        return wakes_at if pending_at is None else min(wakes_at, pending_at)

    def _begin(self) -> None:
        """Begin what was asked for since the last time."""
        if self.started and self._resolution is None:
            self._resolution = Resolution(self.settings, self)
            self._resolution.start()
        if self._resolves and self._resolution is not None:
            self._resolves = False
            self._resolution.resolve_now()

    def _tick(self) -> float:
        """Do what is due in the machine. Return when something is due there next."""
        now = monotonic()
        self._connections.perform(self._machine.tick(now))
        idle = self.outlook.idle_picker
        if self._connects and idle is not None and self.outlook.picker is None:
            self._connects = False
            self._connections.perform(self._machine.idle_picked(idle.pick(), now))
        pause = self._connections.look(list(self._machine.pool), self._observed)
        self._publish()
        self._subscriptions.note(self.state_name())
        if self._remember_at is not None and self._remember_at <= now:
            self._remembered = self._machine.snapshot(now)
            self._remember_at = None
        times = (now + pause, self._machine.wake_at, self._remember_at)
        return min(time for time in times if time is not None)

    def _finish(self) -> None:
        """Close everything."""

        def end() -> None:
            self._connections.perform(self._machine.close())
            self._publish()
            self._remembered = self._machine.snapshot(monotonic())

        self._serializer.call(end)
        self._changes.set()
        if self._resolution is not None:
            self._resolution.close()
        self._load_reader.close(_JOIN)
        self._connections.shut()
        self._advance(self.pending.all())
        self._subscriptions.clear()
        self._subscriptions.tell()
        if self._announced:
            observers, target = self.settings.observers, self.settings.target.text
            tell(observers, Observer.channel_closed, target, self.snapshot)

    def _build(self) -> bool:
        """Build a picker, for a moment, if one is to be built. Return whether there is more."""
        build = self._serializer.call(lambda: self._machine.build)
        if build is None:
            return False
        # With no lock: RPCs go on with the picker of the moment.
        until = monotonic() + _BUILDING
        while not build.step():
            if monotonic() >= until:
                return True

        def built() -> None:
            self._machine.built(build)
            self._publish()

        self._serializer.call(built)
        return True

    def _carry_out(self, found: Sequence[Action]) -> None:
        """Do what the machine wants done, and publish what it comes to. In the serializer."""
        self._connections.perform(found)
        self._publish()
        # A time of the machine's may have moved, and a connection is to be looked at soon.
        self._work.set()

    def _publish(self) -> None:
        machine = self._machine
        published = machine.publish()
        if machine.build is not None:
            self._work.set()
        if published:
            self.outlook = machine.outlook
            if self.closed:
                # `close`, on any thread, does it the other way round.
                self.outlook = _closed_outlook(machine.outlook)
            if self._remember_at is None:
                self._remember_at = monotonic() + _REMEMBER
            self._changes.set()
            self._load_reader.arrange(machine.load_period)
            if self.pending or self._subscriptions:
                self._work.set()
        if self.settings.observers:
            events = machine.events()
            if events:
                self._subscriptions.happened(events)
                self._work.set()

    def reporting(self) -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
        """See `client_resolver.sync.load_reader.Source`."""

        def look() -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
            ready = [one for one in self._machine.pool if one.ready and not one.draining]
            pairs = [(one, one.handle.parts[0]) for one in ready if one.handle is not None]
            period = None if self.closed else self._machine.load_period
            return period, pairs if period is not None else []

        return self._serializer.call(look)

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
            if call.advance() and not self.defer(call):
                call.advance()

    def __repr__(self) -> str:
        found = self._serializer.read(
            lambda: describe(self.settings, self._machine, closed=self.closed, started=self.started)
        )
        return f"{self.settings.target.text}: changing" if found is None else found


def _nothing() -> None:
    """Observers are told already, below this: one of them uses the channel."""


def _closed_outlook(outlook: Outlook[Handle]) -> Outlook[Handle]:
    """What picks goes by it: there is nothing to pick from any more."""
    return replace(outlook, picker=None, idle_picker=None)
