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


class WatchLimits(Struct, frozen=True):
    """What ends a watch that its client keeps open.

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
        self._forget = readiness.subscribe(self.wake)
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
            self._end(grpc.StatusCode.UNAVAILABLE, "the balancer is shutting down")
        return not self._ended

    async def write(self, context: ServicerContext[Request, Response], message: Response) -> bool:
        """Write a message; if the reader takes none for too long, end the watch.

        Returns:
            Whether the message was taken.
        """
        try:
            async with asyncio.timeout(self._write_timeout):
                await context.write(message)
        except TimeoutError:
            self._end(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the watch was not read for {self._write_timeout:g} s",
            )
            return False
        return True

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

    def _expire(self) -> None:
        self._end(grpc.StatusCode.OK, "")

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        if not self._ended:
            self._ended, self.code, self.details = True, code, details
        self.wake()
