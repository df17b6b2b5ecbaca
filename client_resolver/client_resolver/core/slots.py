"""Counts that nothing can put out of step: a place is taken for as long as an object lives."""

from weakref import ref

__all__ = ["Live", "Slot"]

Live = set[object]
"""The counted objects: a weak reference for each. Its length is the count."""


class Slot:
    """A place in a count. It is given back by `give_back`, or when the slot dies.

    An exception may come from a signal handler between any two bytecodes: between a count and the
    `try` that would take it back as well. So the count follows the slot's life. What takes it back
    then is a function of C, `set.discard`, called by the weak reference: a `__del__` would itself
    be interrupted. For the same reason there is no lock: adding to a set, and discarding from it,
    is one step for all threads.

    Who counts and discounts in one and the same frame may do without a slot, at half the cost:

        try:
            live.add(mark)
            ...
        finally:
            live.discard(mark)

    Handlers run after a call of C: after what `add` has done, which is inside the `try`, and after
    what `discard` has done, if nothing is called before it. See `client_resolver.core.guard`.

    Args:
        live: Where it is counted.
    """

    __slots__ = ("__weakref__", "_live", "_mark")

    def __init__(self, live: Live) -> None:
        self._live = live
        live.add(mark := ref(self, live.discard))
        self._mark: object = mark

    def give_back(self) -> None:
        """Count it no more. Doing so again does nothing."""
        self._live.discard(self._mark)
