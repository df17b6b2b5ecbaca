"""When a resolver that has to be asked is asked again."""

from random import Random

from client_resolver.core.backoff import FullJitter

__all__ = ["MIN_GAP", "Polling"]

MIN_GAP = 5.0
"""Seconds between two lookups that failing backends cause. It is what CoreDNS lets the records of a
Kubernetes Service live: asking sooner would bring the answer from before."""

_RETRY = 1.0
"""The first bound, in seconds, of the wait after a look that failed."""

_SPREAD = 0.1
"""By how much of its length a wait is varied: clients that lose a backend together don't ask
together."""


class Polling:
    """Says when the next look is due.

    A look that works is followed by another after `interval` seconds, one that fails after a wait
    that grows up to `interval`. A backend that can't be reached brings the next look forward.

    Args:
        interval: Seconds between two lookups, give or take a tenth.
        rng: The source of all that is drawn.
        gap: The least time between two lookups that `backend_failed` causes, in seconds. No more
            than `interval` counts.
    """

    def __init__(self, interval: float, rng: Random, gap: float = MIN_GAP) -> None:
        self._interval = interval
        self._gap = min(gap, interval)
        self._rng = rng
        self._backoff = FullJitter(min(_RETRY, interval), interval, rng)
        self._began: float | None = None
        self.due_at = float("-inf")
        """When the next look is due, on the monotonic clock."""

    def begun(self, now: float) -> None:
        """A lookup starts."""
        self._began = now
        # Nothing but what is asked for meanwhile brings another before this one has ended.
        self.due_at = float("inf")

    def succeeded(self, now: float) -> None:
        """An answer came."""
        self._backoff.reset()
        spread = self._interval * _SPREAD
        self._bring_forward(now + self._interval + self._rng.uniform(-spread, spread))

    def failed(self, now: float) -> None:
        """There was no answer."""
        self._bring_forward(now + self._backoff.next())

    def backend_failed(self, now: float) -> None:
        """A backend can't be reached: the list may be out of date."""
        earliest = now if self._began is None else max(now, self._began + self._gap)
        self._bring_forward(earliest + self._rng.uniform(0, self._gap * _SPREAD))

    def resolve_now(self, now: float) -> None:
        """Have the next look at once, or as soon as the one under way has ended."""
        self._bring_forward(now)

    def _bring_forward(self, time: float) -> None:
        self.due_at = min(self.due_at, time)
