"""Backoff after failures. Pure: clock and random numbers are arguments."""

import random


class Backoff:
    """Growing, jittered pauses that shrink back after a quiet time.

    Args:
        base: The shortest pause, in seconds.
        ceiling: The longest pause, in seconds.
        reset_after: How long without a failure makes the next one the first, in seconds.
        rng: The source of jitter.
    """

    def __init__(self, base: float, ceiling: float, reset_after: float, rng: random.Random) -> None:
        self._base = base
        self._ceiling = ceiling
        self._reset_after = reset_after
        self._rng = rng
        self._step = base
        self._last: float | None = None

    def reset(self) -> None:
        """Note a success: the next pause is the shortest."""
        self._step = self._base

    def pause(self, now: float) -> float:
        """Return how long to pause after a failure at `now`, in seconds.

        A pause is between one and two steps, and the steps double up to half of the ceiling, so
        that the longest pauses are jittered too.
        """
        if self._last is not None and now - self._last > self._reset_after:
            self._step = self._base
        step = self._step
        pause = min(step * (1 + self._rng.random()), self._ceiling)
        self._last = now + pause
        self._step = max(min(step * 2, self._ceiling / 2), self._base)
        return pause
