"""Serialises a picker: one thread at a time picks, even if code interrupts it."""

from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.guard import Guard
from client_resolver.core.picker import CountingFailures, Picker, Reporting, untried

__all__ = ["SerialPicker", "serial"]

B = TypeVar("B")


class SerialPicker(Generic[B]):
    """Has a picker called by one thread at a time.

    Who interrupts his own thread in a call, as signal handlers and finalisers do, gets the backends
    in turn instead: the picker may be between two states.

    Args:
        inner: Picks.
        backends: What it picks from: at least one.
        guard: Held for each of its calls, and while the next picker is built from it.
    """

    concurrent: ClassVar[bool] = True

    def __init__(self, inner: Picker[B], backends: Sequence[B], guard: Guard) -> None:
        self.inner = inner
        self._backends = tuple(backends)
        self._guard = guard
        self._next: Callable[[], int] = count().__next__
        # Callers check for these methods.
        if isinstance(inner, Reporting):
            ended = inner.ended
            self.ended = lambda *told: guard.run(lambda: ended(*told), _not_now)
        if isinstance(inner, CountingFailures):
            failed = inner.failed
            self.failed = lambda *told, overload: guard.run(
                lambda: failed(*told, overload=overload), _not_now
            )

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> B:
        """See `Picker.pick`."""
        return self._guard.run(lambda: self.inner.pick(key, tried), lambda: self._in_turn(tried))

    def _in_turn(self, tried: Collection[object]) -> B:
        rest = untried(self._backends, tried)
        return rest[self._next() % len(rest)]

    def __repr__(self) -> str:
        return repr(self.inner)


def _not_now() -> None:
    """One end that a measuring picker isn't told of costs nothing."""


def serial(picker: Picker[B], backends: Sequence[B], guard: Guard) -> Picker[B]:
    """Return a picker that may be called at any time: itself, if it may."""
    if getattr(picker, "concurrent", False):
        return picker
    return SerialPicker(picker, backends, guard)
