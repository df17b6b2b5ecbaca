"""A picker that has another pick among some of its backends."""

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Generic, TypeVar

from client_resolver.core.picker import CountingFailures, Picker, Reporting

__all__ = ["FilteringPicker"]

B = TypeVar("B", bound=Hashable)


class FilteringPicker(Generic[B]):
    """Skips the backends that can't be picked at present.

    For keyed pickers: when a backend fails or is ejected, its keys go to others and come
    back with it, and no other key moves. gRFC A42 has it so for `ring_hash`.

    Args:
        inner: Picks. It knows more backends than `present`, and avoids those given as tried.
        present: The backends that can be picked: at least one.
        absent: The others that `inner` knows.
    """

    def __init__(self, inner: Picker[B], present: Sequence[B], absent: Collection[B]) -> None:
        self._inner = inner
        self._pick: Callable[..., B] = inner.pick
        self._present = present
        self._absent = frozenset(absent)
        if isinstance(inner, Reporting):
            self.ended = inner.ended
        if isinstance(inner, CountingFailures):
            self.failed = inner.failed

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> B:
        """See `Picker.pick`."""
        absent = self._absent
        backend = self._pick(key, absent.union(tried) if tried else absent)
        if backend in absent:
            # All present ones were tried, or `inner` ignores `tried`.
            backend = self._pick(key, absent)
        return self._present[key % len(self._present)] if backend in absent else backend

    def __repr__(self) -> str:
        return f"<FilteringPicker over {self._inner!r}, {len(self._absent)} absent>"
