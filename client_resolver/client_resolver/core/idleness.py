"""Closes connections that have been idle for too long."""

from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.picker import Picker

__all__ = ["Idleness", "UsePicker"]

H = TypeVar("H")

_GRAIN = 10
"""A connection is closed late by at most this fraction (1/`_GRAIN`) of the timeout."""


class Idleness(Generic[H]):
    """Finds the connections that nobody uses.

    Args:
        timeout: After how many seconds without an RPC one counts as idle.

    Attributes:
        wake_at: When to look next. None: no connection is open.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.wake_at: float | None = None

    def opened(self, backend: Backend[H], now: float) -> None:
        """A connection was opened."""
        backend.used_at = now
        if self.wake_at is None:
            self.wake_at = now + self._timeout

    def found(self, backends: Iterable[Backend[H]], now: float) -> list[Backend[H]]:
        """Return those of the backends whose connections are idle, and set `wake_at`."""
        if self.wake_at is None or now < self.wake_at:
            return []
        idle: list[Backend[H]] = []
        earliest: float | None = None
        for backend in backends:
            if not backend.opened or backend.draining:
                continue
            if backend.in_flight:
                backend.used_at = now
            if now - backend.used_at >= self._timeout:
                idle.append(backend)
            elif earliest is None or backend.used_at < earliest:
                earliest = backend.used_at
        # One that is found may get an RPC before it is closed, so somebody looks again.
        soon = now + self._timeout / _GRAIN
        if earliest is not None:
            self.wake_at = max(soon, earliest + self._timeout)
        else:
            self.wake_at = soon if idle else None
        return idle


class UsePicker(Generic[H]):
    """Notes on each backend when it is picked.

    Args:
        inner: Picks.
        now: The clock, in seconds.

    Attributes:
        inner: Picks.
    """

    __slots__ = ("_now", "_pick", "inner")

    def __init__(self, inner: Picker[Backend[H]], now: Callable[[], float]) -> None:
        self.inner = inner
        self._pick = inner.pick
        self._now = now

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> Backend[H]:
        """See `Picker.pick`."""
        backend = self._pick(key, tried)
        backend.used_at = self._now()
        return backend
