"""The life of a channel: its first use, and its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import Protocol

import grpc

from client_resolver.aio.connection import Connection
from client_resolver.aio.load_streams import LoadStreams
from client_resolver.aio.machine_runner import MachineRunner
from client_resolver.aio.resolution import Resolution
from client_resolver.aio.waiting_calls import WaitingCalls
from client_resolver.call.shared import Rpcs
from client_resolver.config.settings import Settings
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.telemetry.dispatch import tell
from client_resolver.telemetry.observer import Observer

__all__ = ["Lifecycle"]


class Driven(Protocol):
    """Whose life it is. See `client_resolver.aio.driver.Driver` for the attributes."""

    settings: Settings
    closed: bool
    loop: asyncio.AbstractEventLoop | None
    thread: int
    pending: WaitingCalls
    rpcs: Rpcs[Connection]
    runner: MachineRunner
    load_streams: LoadStreams

    def snapshot(self) -> ChannelSnapshot:
        """Return the state of the whole channel as a record."""


class Lifecycle:
    """Starts and ends what a channel has that runs: its resolution, its connections, its timers.

    On the event loop alone, but for `abandon`.

    Args:
        driver: Whose life it is.
    """

    def __init__(self, driver: Driven) -> None:
        self._driver = driver
        self._resolution: Resolution | None = None
        self._ending: asyncio.Task[None] | None = None
        self._refuses = False

    @property
    def started(self) -> bool:
        """Whether the backends are looked up and connected."""
        return self._resolution is not None

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the resolution and the connections, unless they run. Return the loop.

        Raises:
            grpc.aio.UsageError: The channel is closed.
            RuntimeError: No event loop runs, or another one than the channel's.
        """
        driver = self._driver
        if driver.closed or self._refuses:
            raise grpc.aio.UsageError("Channel is closed.")
        running = asyncio.get_running_loop()
        if driver.loop is None:
            driver.loop, driver.thread = running, get_ident()
            driver.runner.run_on(running)
            driver.rpcs.now = running.time
            self._tell(Observer.channel_started)
            # What lives as long as the channel has nothing of the context of its first RPC.
            Context().run(self._resolve)
        self.refuse_elsewhere()
        return running

    def _resolve(self) -> None:
        runner = self._driver.runner
        self._resolution = Resolution(self._driver.settings, runner)
        runner.backend_failed = self._resolution.backend_failed
        self._resolution.start()

    def resolve_now(self) -> None:
        """Have the backends listed again at once."""
        self.start()
        if self._resolution is not None:
            self._resolution.resolve_now()

    def refuse_elsewhere(self) -> None:
        """Refuse to be used on another event loop than the channel's.

        Raises:
            RuntimeError: It is.
        """
        loop = self._driver.loop
        if loop is None or loop is asyncio.get_running_loop():
            return
        state = "is closed" if loop.is_closed() else "is not the one that runs"
        belongs = "the channel belongs to the event loop that it was first used on"
        text = f"{belongs}, and that one {state}. Make a channel for each loop"
        raise RuntimeError(self._driver.settings.explain(text))

    async def close(self, grace: float | None) -> None:
        """Stop everything. RPCs in flight get `grace` seconds; without it they are cancelled.

        Raises:
            RuntimeError: The channel belongs to another event loop, which isn't closed.
        """
        loop = self._driver.loop
        if self._driver.closed:
            return
        if loop is not None and loop.is_closed():
            self._leave()
        self.refuse_elsewhere()
        grace = await self._finish_pending(grace)
        # Another `close` may have come to here meanwhile.
        if not self._driver.closed:
            await self._shut(grace)

    async def _shut(self, grace: float | None) -> None:
        driver = self._driver
        driver.closed = True
        driver.runner.finish(grace)
        driver.loop = None
        driver.pending.end()
        if self._resolution is not None:
            await self._resolution.close()
        await driver.load_streams.close()
        await driver.runner.connections.closed()
        self._tell(Observer.channel_closed)

    async def _finish_pending(self, grace: float | None) -> float | None:
        """Let the RPCs that wait for a backend find one, and begin no others.

        Returns what is left of the grace.
        """
        driver, loop = self._driver, self._driver.loop
        if not grace or not driver.pending or loop is None:
            return grace
        until = loop.time() + grace
        # RPCs call `start` from here on, which refuses them.
        self._refuses, driver.thread = True, 0
        await driver.pending.all_placed(grace)
        return max(0.0, until - loop.time())

    def _leave(self) -> None:
        # All that ran on the loop has ended with it.
        self._driver.loop = self._driver.runner.loop = self._resolution = None
        self._driver.pending.clear()
        self._driver.runner.connections.clear()

    def abandon(self) -> None:
        """Have everything end soon: nobody uses the channel any more, nor any call of it."""
        # The garbage collector calls this on any thread at any time.
        loop = self._driver.loop
        if loop is not None and not self._driver.closed:
            # It may be closed, now or in between.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._abandoned)

    def _abandoned(self) -> None:
        self._ending = asyncio.create_task(self.close(None), name="lookaside-close")

    def _tell(self, what: Callable[[Observer, str, Callable[[], ChannelSnapshot]], None]) -> None:
        settings = self._driver.settings
        tell(settings.observers, what, settings.target.text, self._driver.snapshot)
