"""Runs a channel's state machine: hands it its events and carries out what follows."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from random import Random

from client_resolver.aio.backend_connections import BackendConnections
from client_resolver.aio.connection import Action, Backend, Connection
from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings
from client_resolver.core.channel_state import Outlook
from client_resolver.core.delta import Delta
from client_resolver.core.machine import Machine
from client_resolver.core.model import Code, Connectivity, Revision, ServerList
from client_resolver.core.watch import Lost
from client_resolver.telemetry.dispatch import tell_events

__all__ = ["MachineRunner"]

_UNHURRIED = 0.005
"""Seconds for which changes are gathered that no RPC suffers from."""


class MachineRunner:
    """Owns a channel's state machine and the connections that it decides about.

    On the event loop alone.

    Args:
        settings: The channel's settings.
        config: The service config that holds.
        rng: The source of all that is random.
        published: Is given each published state of the channel.

    Attributes:
        machine: The state machine.
        connections: The backends' connections.
        loop: The event loop, while the channel is in use. None: nothing is carried out.
        backend_failed: Is called when a backend is lost. None: nobody wants to know.
    """

    def __init__(
        self,
        settings: Settings,
        config: EffectiveConfig,
        rng: Random,
        published: Callable[[Outlook[Connection]], None],
    ) -> None:
        self._settings = settings
        self._published = published
        self._clock: Callable[[], float] = float
        self.machine: Machine[Connection] = settings.machine(rng, config.adopt, self.now)
        self.connections = BackendConnections(settings, config, self.observe, self._explained)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.backend_failed: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Handle | None = None
        self._building: asyncio.Handle | None = None

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The channel is used for the first time: it belongs to this event loop."""
        self.loop = loop
        self._clock = loop.time

    def now(self) -> float:
        """Return the time on the loop's clock, in seconds. Nothing is timed before the start."""
        return self._clock()

    def begun(self) -> Revision | None:
        """See `client_resolver.core.watch.ListSink`."""
        return self.machine.begun(self.now())

    def received(self, message: ServerList | Delta) -> ServerList | None:
        """See `client_resolver.core.watch.ListSink`."""
        if self.loop is not None:
            self._carry_out(self.machine.received(message, self.now()))
        return self.machine.watch.current

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        """See `client_resolver.core.watch.ListSink`."""
        lost = self.machine.lost(code, details, self.now(), misread=misread)
        self.publish()
        return lost

    def fallback_failed(self, why: str) -> None:
        """See `client_resolver.core.watch.ListSink`."""
        self.machine.fallback_failed(why)
        self.publish()

    def idle_picked(self, backend: Backend) -> None:
        """An RPC needs a backend that isn't connected."""
        self._carry_out(self.machine.idle_picked(backend, self.now()))

    def drained(self, backend: Backend) -> None:
        """A draining backend's last RPC has ended."""
        if self.loop is not None:
            self._carry_out(self.machine.drained(backend, self.now()))

    def observe(self, backend: Backend, connection: Connection) -> None:
        """The state of a connection may have changed."""
        if backend.handle is connection:
            before = backend.connectivity
            self._settle(backend, before, self.machine.observed(backend, connection.state()))

    def attempt_failed(
        self, backend: Backend, code: str, seconds: float, now: float, *, pushback: bool = False
    ) -> None:
        """See `client_resolver.call.shared.AttemptFailed`."""
        if self.machine.failed(backend, code, seconds, now, pushback=pushback):
            self.publish()

    def wake(self, now: float) -> None:
        """See `client_resolver.core.pool.Pool.wake`."""
        self.machine.pool.wake(now)
        self._arm()

    def publish(self) -> bool:
        """Publish the state, if it has changed. Return whether it has."""
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        published = self.machine.publish()
        if published:
            self._published(self.machine.outlook)
        self._arm()
        if self.loop is not None and self._building is None and self.machine.build is not None:
            self._building = self.loop.call_soon(self._build, context=Context())
        self._tell_events()
        return published

    def finish(self, grace: float | None) -> None:
        """Begin to close all connections. Their RPCs get `grace` seconds. None: no time."""
        for handle in (self._timer, self._publishing, self._building):
            if handle is not None:
                handle.cancel()
        self.connections.stop()
        for action in self.machine.close():
            if self.loop is not None:
                self.connections.close(action.backend, grace)
            else:
                # It has ended with the loop that it belonged to.
                action.backend.handle = None
        self._tell_events()
        self.loop = None

    def _explained(self, backend: Backend, connection: Connection, why: str) -> None:
        if backend.handle is not connection:
            return
        if connection.state() is not Connectivity.TRANSIENT_FAILURE:
            self.observe(backend, connection)
            return
        before = backend.connectivity
        self._settle(backend, before, self.machine.explained(backend, why))

    def _settle(self, backend: Backend, before: Connectivity, found: Sequence[Action]) -> None:
        """Do what follows from what was seen of a connection."""
        self._perform(found)
        state = backend.connectivity
        failed = state is Connectivity.TRANSIENT_FAILURE or before is Connectivity.READY
        if failed and before is not state and self.backend_failed is not None:
            self.backend_failed()
        if self.loop is not None and (self._publishing is None or self.machine.urgent):
            if self._publishing is not None:
                self._publishing.cancel()
            soon = 0.0 if self.machine.urgent else _UNHURRIED
            self._publishing = self.loop.call_later(soon, self.publish)

    def _carry_out(self, found: Sequence[Action]) -> None:
        self._perform(found)
        self.publish()

    def _perform(self, found: Sequence[Action]) -> None:
        if self.loop is not None:
            self.connections.perform(found)
            self._arm()

    def _arm(self) -> None:
        """Have `_tick` called when the machine wants it."""
        wake_at = self.machine.wake_at
        if self.loop is None or (self._timer is not None and self._timer.when() == wake_at):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at is not None:
            self._timer = self.loop.call_at(wake_at, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self.machine.tick(self.now()))

    def _build(self) -> None:
        """Do one step of the picker that is being built: a millisecond or two."""
        self._building = None
        build = self.machine.build
        if build is not None and build.step():
            self.machine.built(build)
            self.publish()
        elif build is not None and self.loop is not None:
            self._building = self.loop.call_soon(self._build, context=Context())

    def _tell_events(self) -> None:
        observers = self._settings.observers
        if observers:
            tell_events(observers, self._settings.target.text, self.machine.events())
