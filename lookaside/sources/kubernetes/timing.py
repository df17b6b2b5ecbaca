"""Clock, timers and random numbers, so that tests can have their own."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct, field


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


CallLater = Callable[[float, Callable[[], None]], Timer]


def _call_later(seconds: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)


class Timing(Struct, frozen=True):
    """Clock, timers and random numbers.

    Attributes:
        clock: A monotonic clock, in seconds.
        sleep: Pauses for a number of seconds.
        call_later: Schedules a call after a number of seconds.
        rng: The source of jitter.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    call_later: CallLater = _call_later
    rng: random.Random = field(default_factory=random.Random)


class Alarm:
    """At most one call that is still to come.

    Args:
        call_later: Arranges it.
    """

    def __init__(self, call_later: CallLater) -> None:
        self._call_later = call_later
        self._timer: Timer | None = None

    @property
    def pending(self) -> bool:
        """Whether it is still to come."""
        return self._timer is not None

    def set(self, seconds: float, call: Callable[[], None]) -> None:
        """Schedule a call after a number of seconds; it replaces the last one."""
        self.cancel()

        def ring() -> None:
            self._timer = None
            call()

        self._timer = self._call_later(seconds, ring)

    def cancel(self) -> None:
        """Let it not come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
