"""Exponential backoff with full jitter."""

from random import Random

__all__ = ["FullJitter"]


class FullJitter:
    """Draws the wait before each attempt from 0 to a bound that doubles up to a cap.

    "Full jitter" of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/:
    clients that lost the same balancer together don't come back together.

    Args:
        initial: The first bound, in seconds.
        maximum: The largest bound, in seconds.
        rng: The source of the draws.
    """

    __slots__ = ("_bound", "_initial", "_maximum", "_rng")

    def __init__(self, initial: float, maximum: float, rng: Random) -> None:
        self._initial = initial
        self._maximum = maximum
        self._rng = rng
        self._bound = initial

    def next(self) -> float:
        """Return the next wait in seconds."""
        bound = min(self._bound, self._maximum)
        self._bound = min(bound * 2, self._maximum)
        return self._rng.uniform(0, bound)

    def reset(self) -> None:
        """Start over after a success."""
        self._bound = self._initial
