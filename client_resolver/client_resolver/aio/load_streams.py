"""Reads the backends' load reports out of band (gRFC A51): one stream to each that is ready."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from random import Random

import grpc

from client_resolver.aio.connection import Backend, Connection
from client_resolver.call.load_report import LOAD_STREAM, load_report, load_request
from client_resolver.config.settings import Settings
from client_resolver.core.backoff import FullJitter
from client_resolver.core.load import LoadReport
from client_resolver.telemetry.log import reportless

__all__ = ["LoadStreams"]


class LoadStreams:
    """Holds a stream of load reports on the connection of each backend that is ready.

    A stream is a plain call on the backend's own connection, and ends with it. One that fails is
    begun again after a growing pause; a backend that has no such service is asked no more for as
    long as its connection lasts.

    Args:
        settings: The channel's settings.
        received: Takes each report.
        now: The clock of the reports, in seconds.
        rng: Draws the pauses.
    """

    def __init__(
        self,
        settings: Settings,
        received: Callable[[Backend, LoadReport], None],
        now: Callable[[], float],
        rng: Random,
    ) -> None:
        self._settings = settings
        self._received = received
        self._now = now
        self._rng = rng
        self._period: float | None = None
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._told = False

    def arrange(self, period: float | None, backends: Iterable[Backend]) -> None:
        """Have a stream to exactly these backends.

        Args:
            period: Seconds between two reports. None: no stream at all.
            backends: Those that are ready, each with its connection.
        """
        wanted: dict[Connection, Backend] = {}
        if period is not None:
            for backend in backends:
                if backend.ready and backend.handle is not None and not backend.draining:
                    wanted[backend.handle] = backend
        for connection in list(self._tasks):
            if connection not in wanted or period != self._period:
                self._end(self._tasks.pop(connection))
        self._period = period
        for connection, backend in wanted.items():
            if period is not None and connection not in self._tasks:
                run = self._read(backend, connection, period)
                self._tasks[connection] = asyncio.get_running_loop().create_task(
                    run, name="lookaside-load-reports", context=Context()
                )

    async def close(self) -> None:
        """End all streams."""
        for task in self._tasks.values():
            self._end(task)
        self._tasks = {}
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _read(self, backend: Backend, connection: Connection, period: float) -> None:
        backoff = FullJitter(1.0, 120.0, self._rng)
        with suppress(asyncio.CancelledError):
            while True:
                try:
                    await self._follow(backend, connection, period, backoff)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        self._tell(backend)
                        return
                except grpc.aio.UsageError:
                    # The connection was closed at this very moment.
                    return
                await asyncio.sleep(backoff.next())

    async def _follow(
        self, backend: Backend, connection: Connection, period: float, backoff: FullJitter
    ) -> None:
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
        stream = connection.channels[0].unary_stream(LOAD_STREAM)
        call = stream(load_request(period))
        try:
            async for data in call:
                report = load_report(data, self._now())
                if report is not None:
                    backoff.reset()
                    self._received(backend, report)
        finally:
            call.cancel()

    def _tell(self, backend: Backend) -> None:
        if not self._told:
            self._told = True
            reportless(self._settings.target.text, backend)
