"""One watcher's slot for the newest state, and the count of watchers still to be notified."""

from collections.abc import Callable

from lookaside.errors import RequestError
from lookaside.model import ServiceName, Snapshot
from lookaside.policy.view import WHOLE, View
from lookaside.registry.published import Published
from lookaside.registry.steps import Steps, finish


class Fanout:
    """One change on its way to its watchers.

    Args:
        pending: How many watchers are to be notified.
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
        view: Who watches it.
        deltas: Whether the watcher takes deltas.
        reads: Whether it takes what the slot is filled with; else it is only woken.
        wake: Called whenever the slot has been filled.
        leave: Called once, when the watch is closed.
        superseded: Called when an outcome is overwritten before it was taken.
    """

    __slots__ = (
        "_fanout",
        "_held",
        "_leave",
        "_outcome",
        "_superseded",
        "_taken",
        "_wake",
        "_writing",
        "deltas",
        "name",
        "reads",
        "view",
    )

    def __init__(
        self,
        name: ServiceName,
        view: View = WHOLE,
        *,
        deltas: bool = False,
        reads: bool = True,
        wake: Callable[[], None],
        leave: Callable[["Subscription"], None],
        superseded: Callable[[], None],
    ) -> None:
        self.name = name
        self.view = view
        self.deltas = deltas
        self.reads = reads
        self._wake = wake
        self._leave: Callable[[Subscription], None] | None = leave
        self._superseded = superseded
        self._outcome: Published | RequestError | None = None
        self._fanout: Fanout | None = None
        self._taken: Snapshot | None = None
        self._writing: Fanout | None = None
        self._held: Snapshot | None = None

    @property
    def wants_whole(self) -> bool:
        """Whether it has no list yet that a delta could be of, or takes none."""
        return self.reads and (not self.deltas or self._held is None)

    def hold(self, snapshot: Snapshot) -> None:
        """Say what the watcher has already, from an earlier watch."""
        self._held = snapshot

    def offer(self, outcome: Published | RequestError, fanout: Fanout | None = None) -> None:
        """Fill the slot, whatever it held. A closed watch takes nothing."""
        if self._leave is None:
            settle(fanout)
            return
        if not self.reads:
            settle(fanout)
            self._wake()
            return
        if self._outcome is not None:
            self._superseded()
        settle(self._fanout)
        self._outcome, self._fanout = outcome, fanout
        self._wake()

    def take(self) -> bytes | RequestError | None:
        """Do what `taking` does, at once."""
        return finish(self.taking())

    def taking(self) -> Steps[bytes | RequestError | None]:
        """Empty the slot: the message to write, the error that ends the watch, or None.

        It is at hand but for a reader who comes late, whose delta is from a list that is past.

        None too where the slot holds what the watcher has already: a change that was undone before
        it was taken.
        """
        outcome, self._outcome = self._outcome, None
        settle(self._writing)
        self._writing, self._fanout = self._fanout, None
        if not isinstance(outcome, Published):
            return outcome
        if self._held is not None and self._held.revision.digest == outcome.digest:
            self.written()
            return None
        self._taken = outcome.snapshot
        if self.deltas and self._held is not None:
            return (yield from outcome.comparing(self._held))
        return (yield from outcome.encoding())

    def written(self) -> None:
        """Say that what was taken last has been handed to the connection."""
        if self._taken is not None:
            self._held, self._taken = self._taken, None
        settle(self._writing)
        self._writing = None

    def close(self) -> None:
        """End the watch. Closing twice is allowed."""
        leave, self._leave = self._leave, None
        if leave is None:
            return
        leave(self)
        settle(self._fanout)
        settle(self._writing)
        self._outcome = self._fanout = self._writing = None


def settle(fanout: Fanout | None) -> None:
    """Count one watcher of a change off, if it is counted."""
    if fanout is not None:
        fanout.settle()
