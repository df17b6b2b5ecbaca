"""The calls of a channel that wait for a backend, or for a time, without a thread of their own."""

from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from client_resolver.core.channel_state import Outlook
from client_resolver.sync.connection import Handle

__all__ = ["Pending", "WaitingCalls"]


class Pending(Protocol):
    """A call that waits for a backend, or for a time, without a thread of its own."""

    @property
    def wake_at(self) -> float | None:
        """When it goes on even if no other outlook comes, on the monotonic clock."""

    @property
    def seen(self) -> Outlook[Handle] | None:
        """The outlook that it found no backend in."""

    def advance(self) -> bool:
        """Try to start or to end the call. Return whether it still waits."""


class WaitingCalls:
    """Keeps the calls that wait. Any thread may call it at any time: each step is one of C.

    A call is hashed by its identity, so that no code of Python's runs in between.
    """

    def __init__(self) -> None:
        self._calls: dict[Pending, None] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call: Pending) -> bool:
        return call in self._calls

    def all(self) -> list[Pending]:
        """Return those that wait."""
        return list(self._calls)

    def add(self, call: Pending) -> None:
        """Have a call wait."""
        self._calls[call] = None

    def remove(self, call: Pending) -> None:
        """Let a call go, if it waits."""
        self._calls.pop(call, None)

    def due(self, outlook: Outlook[Handle]) -> Sequence[Pending]:
        """Return the calls that may go on now: by the outlook, or since their time has come."""
        now = monotonic()
        return [
            call
            for call in list(self._calls)
            if call.seen is not outlook or ((at := call.wake_at) is not None and at <= now)
        ]

    def wake_at(self) -> float | None:
        """Return when the first goes on even if no other outlook comes. None: none does."""
        times = [time for call in list(self._calls) if (time := call.wake_at) is not None]
        return min(times, default=None)
