"""Time and chance, so that tests can have their own."""

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
    """Time and chance.

    Attributes:
        clock: A monotonic clock, in seconds.
        sleep: Pauses for so many seconds.
        call_later: Arranges a call after so many seconds.
        rng: The source of jitter.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    call_later: CallLater = _call_later
    rng: random.Random = field(default_factory=random.Random)
