"""The calls of a channel that wait for a backend, or for a time, without a thread of their own."""

from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from client_resolver.core.channel_state import Outlook
from client_resolver.sync.connection import Handle
from client_resolver.sync.wakeups import Wakeup, Wakeups

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
    """Keeps the calls that wait, and the threads that wait for one of theirs.

    There is no lock. Any thread may call it at any time: each step is one of C. A call is hashed by
    its identity, so that no code of Python's runs in between.

    Attributes:
        threads: Wakes the threads that wait: each looks for itself whether it goes on.
        over: The channel is closed.
    """

    def __init__(self) -> None:
        self._calls: dict[Pending, None] = {}
        self._looks = False
        self.over = False
        self.threads = Wakeups()

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

    def look_again(self) -> None:
        """Have all look again, though the state that is published may be the one they have seen."""
        self._looks = True
        self.threads.set()

    def end(self) -> None:
        """The channel is closed: no thread is to wait any more."""
        self.over = True
        self.threads.set()

    def sleep(self, until: float) -> None:
        """Wait for a time on the monotonic clock. Returns early when the channel is closed."""
        changed = Wakeup()
        self.threads.add(changed)
        try:
            while not self.over and (left := until - monotonic()) > 0:
                changed.wait(left)
        finally:
            self.threads.remove(changed)

    def due(self, outlook: Outlook[Handle]) -> Sequence[Pending]:
        """Return the calls that may go on now: by the outlook, or since their time has come.

        On the driver's thread alone.
        """
        looks, self._looks = self._looks, False
        if looks:
            return self.all()
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
