"""The connections of a channel's backends: opens, follows and closes them."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from functools import partial

import grpc

from client_resolver.aio.connection import (
    Action,
    Backend,
    Connection,
    Undialled,
    end_calls,
    open_channel,
)
from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings
from client_resolver.core import backend as actions
from client_resolver.telemetry.log import undialled

__all__ = ["BackendConnections"]

_SHUTDOWN = grpc.ChannelConnectivity.SHUTDOWN
_REDIAL = 1.0
"""Seconds after which the application is asked again how to dial a backend."""
_PORTION = 0.002
"""Seconds for which actions are carried out before the event loop turns to everything else."""


class BackendConnections:
    """Carries out what the state machine wants done with connections, and follows their states.

    On the event loop alone.

    Args:
        settings: The channel's settings.
        config: The service config that holds.
        observed: Is called whenever the state of a connection may have changed.
        explained: Is given why a connection fails, where that was asked for.

    Attributes:
        channels: The backends' channels that are open.
    """

    def __init__(
        self,
        settings: Settings,
        config: EffectiveConfig,
        observed: Callable[[Backend, Connection], None],
        explained: Callable[[Backend, Connection, str], None],
    ) -> None:
        self._settings = settings
        self._config = config
        self._observed = observed
        self._explained = explained
        self._closing: set[asyncio.Task[None]] = set()
        self._due: deque[Action] = deque()
        self._going_on: asyncio.Handle | None = None
        self.channels: set[grpc.aio.Channel] = set()

    def perform(self, found: Iterable[Action]) -> None:
        """Carry out actions, in their order: what takes longer than a portion in later turns."""
        self._due.extend(found)
        if self._going_on is None:
            self._go_on()

    def stop(self) -> None:
        """Carry out nothing more."""
        self._due.clear()
        if self._going_on is not None:
            self._going_on.cancel()

    def _go_on(self) -> None:
        # A large list asks for thousands of connections at once, at some 0.1 ms each.
        self._going_on = None
        loop = asyncio.get_running_loop()
        until = loop.time() + _PORTION
        while self._due:
            self._carry_out(self._due.popleft())
            if self._due and loop.time() >= until:
                self._going_on = loop.call_soon(self._go_on, context=Context())
                return

    def _carry_out(self, action: Action) -> None:
        settings, backend = self._settings, action.backend
        match action:
            case actions.Open():
                self._open(backend)
            case actions.Connect():
                if backend.handle is not None:
                    backend.handle.state(try_to_connect=True)
            case actions.Close(overdue=overdue):
                if overdue and settings.drain_timeout is not None:
                    end_calls(backend, settings.undrained(backend.address))
                self.close(backend, None)
            case actions.Explain():
                if backend.handle is not None:
                    answer = partial(self._explained, backend, backend.handle)
                    backend.handle.explain(answer)

    def close(self, backend: Backend, grace: float | None) -> None:
        """Begin to close a backend's connection. Its RPCs get `grace` seconds. None: no time."""
        connection, backend.handle = backend.handle, None
        if connection is not None:
            self.channels.difference_update(connection.channels)
            task = asyncio.get_running_loop().create_task(connection.shut(grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def closed(self) -> None:
        """Wait for those that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    def clear(self) -> None:
        """Forget those that were being closed: their event loop is closed."""
        self._closing.clear()
        self._going_on = None

    def _open(self, backend: Backend) -> None:
        settings = self._settings
        target = backend.endpoint.address.target
        try:
            credentials, options = settings.dialling(backend.endpoint, self._config.config)
            channels = [
                open_channel(target, credentials, options, settings.compression)
                for _ in range(settings.connections_per_backend)
            ]
        except Exception as error:  # noqa: BLE001
            # Rather no connection than one with other credentials.
            undialled(settings.target.text, backend, error)
            absent = backend.handle = Undialled(_spawn(self._redial(backend)))
            asyncio.get_running_loop().call_soon(self._observed, backend, absent)
            return
        connection = backend.handle = Connection(channels)
        self.channels.update(connection.channels)
        connection.followers.extend(
            _spawn(self._follow(backend, connection, channel)) for channel in connection.channels
        )

    async def _redial(self, backend: Backend) -> None:
        # It is cancelled when the connection that it would replace is closed.
        await asyncio.sleep(_REDIAL)
        self._open(backend)

    async def _follow(
        self, backend: Backend, connection: Connection, channel: grpc.aio.Channel
    ) -> None:
        state = channel.get_state(try_to_connect=True)
        # Until the channel is closed. To cancel this would leave gRPC's own watch of the state
        # behind, whose end is then told to a loop that may be closed by then.
        while state is not _SHUTDOWN:
            self._observed(backend, connection)
            try:
                await channel.wait_for_state_change(state)
            except grpc.aio.UsageError:
                return
            # One of several that goes idle would stay so while the others are ready.
            state = channel.get_state(try_to_connect=len(connection.channels) > 1)


def _spawn(run: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """Run it with nothing of the context of the RPC that it is begun for."""
    return asyncio.get_running_loop().create_task(run, context=Context())
