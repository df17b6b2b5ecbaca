"""Limits how often changes are published."""

import math
from collections.abc import Callable

from lookaside.sources.kubernetes.timing import CallLater, Timer


class Debouncer:
    """At once after a quiet time, and at most once in each window while changes go on.

    What comes within a window after a publication is published together at the window's end, so
    that the last state always is.

    Args:
        window: The length of a window, in seconds; 0: each change at once.
        publish: Publishes what has been gathered, received first at the given time in seconds of
            the clock; returns whether there was anything.
        clock: The monotonic clock, in seconds.
        call_later: Schedules a call after a number of seconds.
    """

    def __init__(
        self,
        window: float,
        publish: Callable[[float], bool],
        *,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self._window = window
        self._publish = publish
        self._clock = clock
        self._call_later = call_later
        self._last = -math.inf
        self._first: float | None = None
        self._timer: Timer | None = None

    def ask(self, at: float) -> None:
        """Publish now or at the end of the window.

        Args:
            at: When what is to be published was received, in seconds of the clock.
        """
        if self._first is None:
            self._first = at
        if self._timer is not None:
            return
        left = self._last + self._window - self._clock()
        if left > 0:
            self._timer = self._call_later(left, self._go)
        else:
            self._go()

    def published(self) -> None:
        """Note that all was published otherwise just now: a window begins."""
        self.close()
        self._last = self._clock()

    def close(self) -> None:
        """Forget what has been asked for."""
        self._first = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go(self) -> None:
        first = self._clock() if self._first is None else self._first
        self._first = self._timer = None
        if self._publish(first):
            self._last = self._clock()
