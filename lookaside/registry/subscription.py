"""One watcher's slot for the newest state, and the count of watchers still to be told."""

from collections.abc import Callable

from msgspec import Struct

from lookaside.errors import RequestError
from lookaside.model import ServiceName, Snapshot


class Published(Struct, frozen=True):
    """A snapshot and its wire form."""

    snapshot: Snapshot
    wire: bytes


class Fanout:
    """One change on its way to its watchers.

    Args:
        pending: How many watchers are to be told.
        finish: Called when the last of them has been written to, has gone, or got a newer state.
    """

    __slots__ = ("_finish", "_pending")

    def __init__(self, pending: int, finish: Callable[[], None]) -> None:
        self._pending = pending
        self._finish = finish

    def settle(self) -> None:
        """Count one watcher off."""
        self._pending -= 1
        if not self._pending:
            self._finish()


class Subscription:
    """One watcher of one name: a slot that holds the newest outcome alone.

    Args:
        name: What is watched.
        wake: Called whenever the slot has been filled.
        leave: Called once, when the watch is closed.
        superseded: Called when an outcome is overwritten before it was taken.
    """

    __slots__ = ("_fanout", "_leave", "_outcome", "_superseded", "_wake", "_writing", "name")

    def __init__(
        self,
        name: ServiceName,
        *,
        wake: Callable[[], None],
        leave: Callable[["Subscription"], None],
        superseded: Callable[[], None],
    ) -> None:
        self.name = name
        self._wake = wake
        self._leave: Callable[[Subscription], None] | None = leave
        self._superseded = superseded
        self._outcome: Published | RequestError | None = None
        self._fanout: Fanout | None = None
        self._writing: Fanout | None = None

    def offer(self, outcome: Published | RequestError, fanout: Fanout | None = None) -> None:
        """Fill the slot, whatever it held. A closed watch takes nothing."""
        if self._leave is None:
            _settle(fanout)
            return
        if self._outcome is not None:
            self._superseded()
        _settle(self._fanout)
        self._outcome, self._fanout = outcome, fanout
        self._wake()

    def take(self) -> Published | RequestError | None:
        """Empty the slot: the newest state, the error that ends the watch, or None."""
        outcome, self._outcome = self._outcome, None
        _settle(self._writing)
        self._writing, self._fanout = self._fanout, None
        return outcome

    def written(self) -> None:
        """Say that what was taken last has been handed to the connection."""
        _settle(self._writing)
        self._writing = None

    def close(self) -> None:
        """End the watch. Closing twice is allowed."""
        leave, self._leave = self._leave, None
        if leave is None:
            return
        leave(self)
        _settle(self._fanout)
        _settle(self._writing)
        self._outcome = self._fanout = self._writing = None


def _settle(fanout: Fanout | None) -> None:
    if fanout is not None:
        fanout.settle()
