"""Runs a channel's state machine on the event loop: the connections, the timers, those who wait."""

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random

import grpc

from client_resolver.aio.connection import Action, Backend, Connection, open_channel
from client_resolver.aio.watcher import watch
from client_resolver.central import Central, Configured
from client_resolver.core import backends
from client_resolver.core.delta import Delta
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Failure, Revision, ServerList
from client_resolver.core.outlook import Outlook
from client_resolver.core.watch import Lost
from client_resolver.settings import Settings, describe

__all__ = ["Driver"]

_READY = grpc.ChannelConnectivity.READY


class Driver:
    """Owns everything of a channel that lives on the event loop.

    Nothing runs before the first use: a channel may be made where no loop runs yet, and in a
    process that forks.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self._central = Central(settings)
        self._machine: Machine[Connection] = settings.machine(
            Random(),  # noqa: S311
            self._central.adopt,
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self._searches: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Handle | None = None

    @property
    def outlook(self) -> Outlook[Connection]:
        """What the next RPC meets."""
        return self._machine.outlook

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the watch and the connections, unless they run. Return the loop.

        Raises:
            grpc.aio.UsageError: The channel is closed.
            RuntimeError: No event loop runs.
        """
        if self.closed:
            raise grpc.aio.UsageError("Channel is closed.")
        if self.loop is not None:
            return self.loop
        self.loop = loop = asyncio.get_running_loop()
        fixed = self.settings.fixed()
        if fixed is None:
            self._watcher = loop.create_task(watch(self.settings, self), name="lookaside-watch")
        else:
            self._perform(self._machine.received(fixed, loop.time()))
            self._publish()
        return loop

    def configure(self, configured: Configured) -> None:
        """Tell the service config that holds, now and whenever it changes."""
        self._central.add(configured)

    def begun(self) -> Revision | None:
        """See `client_resolver.aio.watcher.Flow`."""
        return self._machine.begun(self._now())

    def received(self, message: ServerList | Delta) -> None:
        """See `client_resolver.aio.watcher.Flow`."""
        self._perform(self._machine.received(message, self._now()))
        self._publish()

    def lost(self, code: str, details: str) -> Lost:
        """See `client_resolver.aio.watcher.Flow`."""
        lost = self._machine.lost(code, details, self._now())
        self._publish()
        return lost

    def pick(self) -> Backend | None:
        """Pick a backend that is ready at this moment. None: there is none."""
        while (picker := self._machine.outlook.picker) is not None:
            backend = picker.pick()
            connection = backend.handle
            if connection is not None:
                state = connection.channel.get_state()
                if state is _READY:
                    return backend
                self._observed(backend, state)
            self._publish()
        return None

    def failure(self) -> Failure | None:
        """Why an RPC that doesn't wait for ready fails now. None: it waits."""
        return self._machine.outlook.failure

    async def changed(self, seconds: float | None) -> None:
        """Wait for a new outlook, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _finish, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()

    def is_ready(self, backend: Backend) -> bool:
        """Whether a backend's connection is ready at this moment."""
        connection = backend.handle
        if connection is None:
            return False
        state = connection.channel.get_state()
        if state is not _READY:
            self._observed(backend, state)
        return state is _READY

    def search(self, search: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a call's search for a backend. It ends with the channel at the latest."""
        task = self.start().create_task(search)
        self._searches.add(task)
        task.add_done_callback(self._searches.discard)
        return task

    def connect(self) -> None:
        """Ask every idle connection to connect."""
        for backend in self._machine.pool:
            if backend.handle is not None and not backend.draining:
                backend.handle.channel.get_state(try_to_connect=True)

    def drained(self) -> None:
        """Take in that a draining backend's last RPC has ended."""
        if self.loop is not None:
            self._perform(self._machine.tick(self.loop.time()))

    async def close(self, grace: float | None) -> None:
        """Stop everything. RPCs in flight get `grace` seconds; without it they are cancelled."""
        if self.closed:
            return
        self.closed = True
        for handle in (self._timer, self._publishing):
            if handle is not None:
                handle.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            self._closing.add(self._watcher)
        for action in self._machine.close():
            self._close(action.backend, grace)
        self.loop = None
        self._wake()
        tasks = self._closing | self._searches
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self, backend: Backend, channel: grpc.aio.Channel) -> None:
        state = channel.get_state(try_to_connect=True)
        while True:
            self._observed(backend, state)
            await channel.wait_for_state_change(state)
            state = channel.get_state()

    def _observed(self, backend: Backend, state: grpc.ChannelConnectivity) -> None:
        self._perform(self._machine.observed(backend, Connectivity[state.name]))
        if self._publishing is None and self.loop is not None:
            self._publishing = self.loop.call_soon(self._publish)

    def _perform(self, actions: Sequence[Action]) -> None:
        loop = self.loop
        if loop is None:
            return
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
                    backend.handle.follower = loop.create_task(self._follow(backend, channel))
                case backends.Connect():
                    if backend.handle is not None:
                        backend.handle.channel.get_state(try_to_connect=True)
                case backends.Close():
                    self._close(backend, None)
        self._arm(loop)

    def _close(self, backend: Backend, grace: float | None) -> None:
        connection, backend.handle = backend.handle, None
        if connection is not None and self.loop is not None:
            connection.closed = True
            task = self.loop.create_task(connection.shut(grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self._machine.wake_at
        if wake_at is not None:
            self._timer = loop.call_at(wake_at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._machine.tick(self._now()))
        self._publish()

    def _publish(self) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        if self._machine.publish():
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            _finish(waiter)

    def __repr__(self) -> str:
        started = self.loop is not None
        return describe(self.settings, self._machine, closed=self.closed, started=started)

    def _now(self) -> float:
        return self.start().time()


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
