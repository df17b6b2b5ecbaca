"""`round_robin`: every backend in turn, whatever the weights."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import fsum
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.picker import BasePolicy, Candidate, Picker

__all__ = ["CyclicPicker", "RoundRobin"]

C = TypeVar("C", bound=Candidate)


class CyclicPicker(Generic[C]):
    """Goes through its backends in a fixed order.

    The order is that of what the picker before owed them. Those that it didn't know come in
    anywhere, and so do all if there was none: a random order rather than a random start alone, so
    that clients that start together don't follow each other from backend to backend.

    A backend that an RPC skips because it was tried there loses that turn. The others keep
    theirs, so that any two that were not skipped differ by one pick at most.

    Args:
        backends: The backends.
        rng: The source of all that is random.
        debts: What some backends are owed by the picker before, in picks.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_next", "_order", "_owed")

    def __init__(
        self, backends: Sequence[C], rng: Random, debts: Mapping[C, float] | None = None
    ) -> None:
        known = {b: debts[b] for b in backends if b in debts} if debts else {}
        # What those who left were owed is shared out.
        mean = fsum(known.values()) / len(known) if known else 0.0
        self._owed = {b: known[b] - mean if b in known else rng.random() - 0.5 for b in backends}
        self._order = sorted(backends, key=self._owed.__getitem__, reverse=True)
        self._next = cycle(self._order).__next__

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        if not tried:
            return self._next()
        # After one round the order is as before: that pick is right if all were tried.
        for _ in self._order:
            backend = self._next()
            if backend not in tried:
                return backend
        return self._next()

    def holds(self, backends: Sequence[C]) -> bool:
        """Whether these are the backends that it goes through."""
        return len(backends) == len(self._order) and set(backends) == set(self._order)

    def debts(self) -> dict[C, float]:
        """Return what each backend is owed, in picks."""
        # After one round the order is as before, and so is what is owed.
        first, *_ = [self._next() for _ in self._order]
        had = self._order.index(first)
        due = had / len(self._order)
        return {b: self._owed[b] + due - (place < had) for place, b in enumerate(self._order)}

    def __repr__(self) -> str:
        return f"<CyclicPicker of {len(self._order)} backends>"


@dataclass(frozen=True)
class RoundRobin(BasePolicy):
    """The policy `round_robin`."""

    name: ClassVar[str] = "round_robin"

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "RoundRobin":  # noqa: ARG003
        """Make the policy from its config, which has no fields."""
        return cls()

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. Backends that stay go on in the order that they had."""
        if not isinstance(before, CyclicPicker):
            return CyclicPicker(backends, rng)
        return before if before.holds(backends) else CyclicPicker(backends, rng, before.debts())
