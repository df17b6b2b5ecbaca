"""Runs a channel's state machine on the event loop: the connections, the timers, those who wait."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from random import Random
from threading import get_ident
from typing import Protocol

import grpc

from client_resolver.aio.connection import (
    READY,
    Action,
    Backend,
    Connection,
    Undialled,
    end_calls,
    open_channel,
)
from client_resolver.aio.load_streams import LoadStreams
from client_resolver.aio.resolution import Resolution
from client_resolver.call.accounting import Rpc
from client_resolver.call.shared import Rpcs
from client_resolver.config.effective_config import ConfigListener, EffectiveConfig
from client_resolver.config.settings import Settings, describe
from client_resolver.core import backend as backends
from client_resolver.core.channel_state import Outlook
from client_resolver.core.delta import Delta
from client_resolver.core.model import Code, Connectivity, Failure, Revision, ServerList
from client_resolver.core.picker import Picker
from client_resolver.core.snapshot import ChannelSnapshot, of_channel
from client_resolver.core.watch import Lost
from client_resolver.telemetry.dispatch import tell, tell_events
from client_resolver.telemetry.log import undialled
from client_resolver.telemetry.observer import Observer

__all__ = ["Driver", "Pending"]

_READY = grpc.ChannelConnectivity.READY
_SHUTDOWN = grpc.ChannelConnectivity.SHUTDOWN
_UNHURRIED = 0.005
"""Seconds for which changes are gathered that no RPC suffers from."""
_REDIAL = 1.0
"""Seconds after which the application is asked again how to dial a backend."""


class Pending(Protocol):
    """An RPC that waits for a backend, or that has yet to be looked at again."""

    def advance(self) -> None:
        """Look whether there is a backend now."""

    def shut(self) -> None:
        """Take in that the channel is closed."""


class Driver:
    """Owns everything of a channel that lives on the event loop.

    Nothing runs before the first use: a channel may be made where no loop runs yet, and in a
    process that forks.

    Attributes:
        channels: The backends' channels that are open.
        pending: The RPCs that have no attempt under way.
        rpcs: What the RPCs that are more than a plain call have in common.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self._closing_pending: asyncio.Future[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.channels: set[grpc.aio.Channel] = set()
        self.pending: dict[Pending, None] = {}
        self._thread = 0
        self._clock: Callable[[], float] = float
        self._central = EffectiveConfig(settings)
        rng = Random()  # noqa: S311
        self._machine = settings.machine(rng, self._central.adopt, self.now)
        self._picker: Picker[Backend] | None = None
        self.rpcs: Rpcs[Connection] = Rpcs(
            settings,
            self._machine,
            now=self.now,
            rng=rng,
            attempt_failed=self._attempt_failed,
            wake=self._waken,
        )
        self._central.add(self.rpcs)
        self._load_streams = LoadStreams(settings, self._machine.loaded, self.now, rng)
        self._resolution: Resolution | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Handle | None = None
        self._advancing: asyncio.Handle | None = None
        self._building: asyncio.Handle | None = None

    @property
    def outlook(self) -> Outlook[Connection]:
        """What the next RPC meets."""
        return self._machine.outlook

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the resolution and the connections, unless they run. Return the loop.

        Raises:
            grpc.aio.UsageError: The channel is closed.
            RuntimeError: No event loop runs, or another one than the channel's.
        """
        if self.closed or self._closing_pending is not None:
            raise grpc.aio.UsageError("Channel is closed.")
        running = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = running
            self._thread = get_ident()
            self._clock = self.rpcs.now = running.time
            self._tell(Observer.channel_started)
            # What lives as long as the channel has nothing of the context of its first RPC.
            Context().run(self._resolve)
        elif self.loop is not running:
            raise RuntimeError(self._elsewhere(self.loop))
        return running

    def _elsewhere(self, loop: asyncio.AbstractEventLoop) -> str:
        state = "is closed" if loop.is_closed() else "is not the one that runs"
        belongs = "the channel belongs to the event loop that it was first used on"
        return self.settings.explain(
            f"{belongs}, and that one {state}. Make a channel for each loop"
        )

    def _resolve(self) -> None:
        self._resolution = Resolution(self.settings, self)
        self._resolution.start()

    def resolve_now(self) -> None:
        """Have the backends listed anew at once."""
        self.start()
        if self._resolution is not None:
            self._resolution.resolve_now()

    def snapshot(self) -> ChannelSnapshot:
        """Return the state of the whole channel as a record."""
        found = self._machine.snapshot(self.now())
        started = self._resolution is not None
        waiting = len(self.pending)
        return of_channel(found, self.rpcs.breaker, waiting, started=started, closed=self.closed)

    def configure(self, configured: ConfigListener) -> None:
        """Tell the service config that holds, now and whenever it changes."""
        self._central.add(configured)

    def now(self) -> float:
        """Return the time on the loop's clock, in seconds. Nothing is timed before the start."""
        return self._clock()

    def begun(self) -> Revision | None:
        """See `client_resolver.core.watch.ListSink`."""
        return self._machine.begun(self.now())

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `client_resolver.core.watch.ListSink`."""
        if not self.closed:
            self._perform(self._machine.received(message, self.now()))
            self._publish()
        return self._machine.watch.current

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """See `client_resolver.core.watch.ListSink`."""
        lost = self._machine.lost(code, details, self.now(), misread=misread)
        self._publish()
        return lost

    def fallback_failed(self, why: str) -> None:
        """See `client_resolver.core.watch.ListSink`."""
        self._machine.fallback_failed(why)
        self._publish()

    def pick(self, key: int = 0) -> Backend | None:
        """Pick a backend that is ready, for an RPC that needs nothing else. None: there is none.

        Args:
            key: The RPC's, where the policy is keyed.

        Raises:
            RuntimeError, grpc.aio.UsageError: See `start`.
        """
        # A fifth of what `get_running_loop` costs: a thread runs one loop at a time.
        loop = self.loop
        if loop is None or not loop.is_running() or get_ident() != self._thread:
            self.start()
        while (picker := self._picker) is not None:
            backend = picker.pick(key)
            connection = backend.handle
            if connection is not None and connection.check(False) == READY:
                return backend
            if not self._lost_sight_of(backend):
                return None
        return None

    def pick_for(self, rpc: Rpc[Connection]) -> Backend | None:
        """Pick a backend for an RPC's next attempt. None: there is none at this moment."""
        while True:
            idle, asked = self.outlook.idle_picker, rpc.asked
            if idle is not None and (asked is None or not asked.promising):
                rpc.asked = asked = idle.pick(rpc.key, rpc.tried)
                if asked.handle is not None and asked.handle.ready():
                    return asked
                self._perform(self._machine.idle_picked(asked, self.now()))
                self._publish()
            picker = self._picker
            if picker is None:
                return None
            backend = picker.pick(rpc.key, rpc.tried)
            connection = backend.handle
            if connection is not None and connection.ready():
                return backend
            # If it is ready again by now, there will be no other outlook to wake the RPC.
            if not self._lost_sight_of(backend) and not backend.ready:
                return None

    def _lost_sight_of(self, backend: Backend) -> bool:
        # Its follower hasn't told yet that it isn't ready any more.
        if backend.handle is not None:
            self._observe(backend, backend.handle)
        return self._publish()

    def failure(self) -> Failure | None:
        """Why an RPC that doesn't wait for ready fails now. None: it waits."""
        return self._machine.outlook.failure

    async def changed(self) -> None:
        """Wait for a new outlook.

        Raises:
            RuntimeError: The channel belongs to another event loop.
        """
        running = asyncio.get_running_loop()
        if self.loop is not None and self.loop is not running:
            raise RuntimeError(self._elsewhere(self.loop))
        waiter: asyncio.Future[None] = running.create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def is_ready(self, backend: Backend, channel: grpc.aio.Channel) -> bool:
        """Whether a channel of a backend is ready at this moment."""
        connection = backend.handle
        if connection is None or channel not in self.channels:
            return False
        ready = channel.get_state() is _READY
        if not ready:
            self._observe(backend, connection)
        return ready

    def connect(self) -> None:
        """Ask for a connection where there is none."""
        idle = self.outlook.idle_picker
        if idle is not None and self._picker is None:
            self._perform(self._machine.idle_picked(idle.pick(), self.now()))
            self._publish()

    def drained(self, backend: Backend) -> None:
        """Take in that a draining backend's last RPC has ended."""
        if self.loop is not None:
            self._perform(self._machine.drained(backend, self.loop.time()))
            self._publish()

    async def close(self, grace: float | None) -> None:
        """Stop everything. RPCs in flight get `grace` seconds; without it they are cancelled.

        Raises:
            RuntimeError: The channel belongs to another event loop, which isn't closed.
        """
        if self.closed:
            return
        if self.loop is not None and self.loop is not asyncio.get_running_loop():
            self._leave(self.loop)
        await self._shut(await self._finish_pending(grace))

    async def _shut(self, grace: float | None) -> None:
        if self.closed:
            # By another `close` meanwhile.
            return
        self.closed = True
        for handle in (self._timer, self._publishing, self._advancing, self._building):
            if handle is not None:
                handle.cancel()
        for action in self._machine.close():
            self._close(action.backend, grace)
        self._picker = None
        self._tell_events()
        self.loop = None
        self._wake()
        for rpc in list(self.pending):
            rpc.shut()
        if self._resolution is not None:
            await self._resolution.close()
        await self._load_streams.close()
        if self._closing:
            await asyncio.wait(self._closing)
        self._tell(Observer.channel_closed)

    async def _finish_pending(self, grace: float | None) -> float | None:
        """Let the RPCs that wait for a backend find one, and begin no others.

        Returns what is left of the grace.
        """
        loop = self.loop
        if not grace or not self.pending or loop is None:
            return grace
        until = loop.time() + grace
        if self._closing_pending is None:
            self._closing_pending = loop.create_future()
            # The usual way of an RPC goes by `start` from here on, which refuses it.
            self._thread = 0
        await asyncio.wait((self._closing_pending,), timeout=grace)
        return max(0.0, until - loop.time())

    def placed(self, rpc: Pending) -> None:
        """Take in that an RPC waits no more: it has a backend, or has ended."""
        self.pending.pop(rpc, None)
        closing = self._closing_pending
        if closing is not None and not self.pending and not closing.done():
            closing.set_result(None)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            raise RuntimeError(self._elsewhere(loop))
        # All that ran on it has ended with it.
        self.loop = self._resolution = None
        for gone in (self.pending, self._waiters, self._closing):
            gone.clear()

    def abandon(self) -> None:
        """Have everything end soon: nobody uses the channel any more, nor any call of it."""
        # The garbage collector calls this on any thread at any time.
        loop = self.loop
        if loop is not None and not self.closed:
            # It may be closed, now or in between.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._abandoned)

    def _abandoned(self) -> None:
        self._ending = asyncio.create_task(self.close(None), name="lookaside-close")

    async def _follow(
        self, backend: Backend, connection: Connection, channel: grpc.aio.Channel
    ) -> None:
        state = channel.get_state(try_to_connect=True)
        # Until the channel is closed. To cancel this would leave gRPC's own watch of the state
        # behind, whose end is then told to a loop that may be closed by then.
        while state is not _SHUTDOWN:
            self._observe(backend, connection)
            try:
                await channel.wait_for_state_change(state)
            except grpc.aio.UsageError:
                return
            # One of several that goes idle would stay so while the others are ready.
            state = channel.get_state(try_to_connect=len(connection.channels) > 1)

    def _observe(self, backend: Backend, connection: Connection) -> None:
        if backend.handle is connection:
            before = backend.connectivity
            self._settle(backend, before, self._machine.observed(backend, connection.state()))

    def _explained(self, backend: Backend, connection: Connection, why: str) -> None:
        if backend.handle is not connection:
            return
        if connection.state() is not Connectivity.TRANSIENT_FAILURE:
            self._observe(backend, connection)
            return
        before = backend.connectivity
        self._settle(backend, before, self._machine.explained(backend, why))

    def _settle(self, backend: Backend, before: Connectivity, actions: Sequence[Action]) -> None:
        """Do what follows from what was seen of a connection."""
        self._perform(actions)
        state = backend.connectivity
        failed = state is Connectivity.TRANSIENT_FAILURE or before is Connectivity.READY
        if failed and before is not state and self._resolution is not None:
            self._resolution.backend_failed()
        if self.loop is not None and (self._publishing is None or self._machine.urgent):
            if self._publishing is not None:
                self._publishing.cancel()
            soon = 0.0 if self._machine.urgent else _UNHURRIED
            self._publishing = self.loop.call_later(soon, self._publish)

    def _perform(self, actions: Sequence[Action]) -> None:
        loop, settings = self.loop, self.settings
        if loop is None:
            return
        for action in actions:
            backend = action.backend
            match action:
                case backends.Open():
                    self._open(backend, loop)
                case backends.Connect():
                    if backend.handle is not None:
                        backend.handle.state(try_to_connect=True)
                case backends.Close(overdue=overdue):
                    if overdue and settings.drain_timeout is not None:
                        end_calls(backend, settings.undrained(backend.address))
                    self._close(backend, None)
                case backends.Explain():
                    if backend.handle is not None:
                        answer = partial(self._explained, backend, backend.handle)
                        backend.handle.explain(answer)
        self._arm(loop)

    def _open(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        settings = self.settings
        target = backend.endpoint.address.target
        try:
            credentials, options = settings.dialling(backend.endpoint, self._central.config)
            channels = [
                open_channel(target, credentials, options, settings.compression)
                for _ in range(settings.connections_per_backend)
            ]
        except Exception as error:  # noqa: BLE001
            # Rather no connection than one with other credentials.
            undialled(settings.target.text, backend, error)
            absent = backend.handle = Undialled(self._spawn(self._redial(backend), loop))
            loop.call_soon(self._observe, backend, absent)
            return
        connection = backend.handle = Connection(channels)
        self.channels.update(connection.channels)
        connection.followers.extend(
            self._spawn(self._follow(backend, connection, channel), loop)
            for channel in connection.channels
        )

    def _spawn(
        self, run: Coroutine[object, object, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        return loop.create_task(run, context=Context())

    async def _redial(self, backend: Backend) -> None:
        await asyncio.sleep(_REDIAL)
        if self.loop is not None:
            self._open(backend, self.loop)

    def _close(self, backend: Backend, grace: float | None) -> None:
        connection, backend.handle = backend.handle, None
        if connection is not None and self.loop is not None:
            self.channels.difference_update(connection.channels)
            task = self.loop.create_task(connection.shut(grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        wake_at = self._machine.wake_at
        if self._timer is not None:
            if self._timer.when() == wake_at:
                return
            self._timer.cancel()
            self._timer = None
        if wake_at is not None:
            self._timer = loop.call_at(wake_at, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._machine.tick(self.now()))
        self._publish()

    def _publish(self) -> bool:
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        published = self._machine.publish()
        if published:
            self._picker = self._machine.outlook.picker
            self._wake()
        if self.loop is not None:
            self._arm(self.loop)
            if published:
                self._load_streams.arrange(self._machine.load_period, self._machine.pool)
            if self._building is None and self._machine.build is not None:
                self._building = self.loop.call_soon(self._build, context=Context())
        self._tell_events()
        return published

    def _build(self) -> None:
        """Do one step of the picker that is being built: a millisecond or two."""
        self._building = None
        build = self._machine.build
        if build is not None and build.step():
            self._machine.built(build)
            self._publish()
        elif build is not None and self.loop is not None:
            self._building = self.loop.call_soon(self._build, context=Context())

    def _attempt_failed(
        self, backend: Backend, code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""
        if self._machine.failed(backend, code, seconds, now, pushback=pushback):
            self._publish()

    def _waken(self, now: float) -> None:
        """See `client_resolver.core.pool.Pool.wake`."""
        self._machine.pool.wake(now)
        if self.loop is not None:
            self._arm(self.loop)

    def _tell(self, what: Callable[[Observer, str, Callable[[], ChannelSnapshot]], None]) -> None:
        tell(self.settings.observers, what, self.settings.target.text, self.snapshot)

    def _tell_events(self) -> None:
        observers = self.settings.observers
        if observers:
            tell_events(observers, self.settings.target.text, self._machine.events())

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.pending and self._advancing is None and self.loop is not None:
            self._advancing = self.loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._advancing = None
        for rpc in list(self.pending):
            rpc.advance()

    def __repr__(self) -> str:
        started = self.loop is not None
        return describe(self.settings, self._machine, closed=self.closed, started=started)
