"""The life of one server stream: woken by changes, ended by age, a shutdown or a stuck reader."""

import asyncio
import random
from types import TracebackType
from typing import Self, TypeVar

import grpc
from grpc.aio import ServicerContext
from msgspec import Struct

from lookaside.registry.readiness import Readiness

Request = TypeVar("Request")
Response = TypeVar("Response")

FLUSH = 0.5
"""Seconds that a reader who takes nothing has when a shutdown begins."""


class WatchLimits(Struct, frozen=True):
    """Limits that end a watch which its client keeps open.

    Attributes:
        max_age: Seconds after which it is ended for its client to reconnect, up to a tenth earlier
            at random; 0 for never.
        write_timeout: Seconds that its reader may take no message for.
    """

    max_age: float
    write_timeout: float


class Watch:
    """One open stream, as a context manager.

    Attributes:
        code: The status to end the stream with.
        details: Why it ended.
    """

    def __init__(self, readiness: Readiness, limits: WatchLimits) -> None:
        self.code = grpc.StatusCode.OK
        self.details = ""
        self._readiness = readiness
        self._write_timeout = limits.write_timeout
        self._woken = asyncio.Event()
        self._ended = False
        self._writing: asyncio.Timeout | None = None
        self._forget = readiness.subscribe(self._readiness_changed)
        self._expiry: asyncio.TimerHandle | None = None
        if limits.max_age:
            age = limits.max_age * random.uniform(0.9, 1.0)  # noqa: S311 - spreads reconnects
            self._expiry = asyncio.get_running_loop().call_later(age, self._expire)

    def wake(self) -> None:
        """Have `woken` return."""
        self._woken.set()

    async def woken(self) -> bool:
        """Wait for the next wake-up; False when the watch is to end instead."""
        await self._woken.wait()
        self._woken.clear()
        if self._readiness.draining:
            self.end(grpc.StatusCode.UNAVAILABLE, "the balancer is shutting down")
        return not self._ended

    async def ended(self) -> None:
        """Wait until the watch is to end."""
        while await self.woken():
            pass

    async def read(self, context: ServicerContext[bytes, Response]) -> bytes | None:
        """Return the client's next message; None if it sends no more, or the watch is to end.

        A change that wakes the watch meanwhile is not noticed: see `woken`.
        """
        reading: asyncio.Future[object] = asyncio.ensure_future(context.read())
        ending = asyncio.ensure_future(self.ended())
        try:
            await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
            if ending.done() or not isinstance(raw := reading.result(), bytes):
                return None
            return raw
        finally:
            for task in (reading, ending):
                task.cancel()
            await asyncio.gather(reading, ending, return_exceptions=True)

    async def begin(self, context: ServicerContext[Request, Response]) -> None:
        """Send the initial metadata, before any message.

        A first write sends them along, and if it is cut short, gRPC ends the call with them once
        more, which fails, so that the client never hears of the end. They need no room in the
        stream's window, so only a connection that takes no bytes at all holds them up, and
        keepalive ends that.
        """
        await context.send_initial_metadata(())

    async def write(self, context: ServicerContext[Request, Response], message: Response) -> bool:
        """Write a message; if the reader takes none for too long, end the watch.

        Returns:
            Whether the message was taken.
        """
        timeout = FLUSH if self._readiness.draining else self._write_timeout
        try:
            async with asyncio.timeout(timeout) as self._writing:
                await context.write(message)
        except TimeoutError:
            self.end(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the watch was not read for {timeout:g} s",
            )
            return False
        finally:
            self._writing = None
        return True

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """Have the watch end with a status, unless it is to end with another already."""
        if not self._ended:
            self._ended, self.code, self.details = True, code, details
        self.wake()

    def finish(self, context: ServicerContext[Request, Response]) -> None:
        """Have the stream end with the status that the watch has ended with."""
        context.set_code(self.code)
        context.set_details(self.details)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget()
        if self._expiry is not None:
            self._expiry.cancel()

    def _readiness_changed(self) -> None:
        if self._readiness.draining and self._writing is not None:
            at = asyncio.get_running_loop().time() + FLUSH
            self._writing.reschedule(min(self._writing.when() or at, at))
        self.wake()

    def _expire(self) -> None:
        self.end(grpc.StatusCode.OK, "")
