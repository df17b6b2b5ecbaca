"""`weighted_round_robin`: exact shares by weight.

A backend of weight `w` among a sum of weights `W` is due `k·w/W` of the first `k` picks. Tijdeman's
solution of the chairman assignment problem (R. Tijdeman, "The chairman assignment problem",
Discrete Mathematics 32, 1980) keeps every backend within less than one pick of that at every `k`:
pick number `j` of a backend, from 0, must not come before its due share exceeds `j` and must come
before it exceeds `j + 1`; among those that may come now, the one that must come first is picked.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import Generic, TypeVar

from client_resolver.core.picker import Picker, Weighted
from client_resolver.core.pickers.round_robin import CyclicPicker

__all__ = ["ExactPicker", "WeightedRoundRobin"]

W = TypeVar("W", bound=Weighted)


class _Slot(Generic[W]):
    """The next pick of one backend: it may come from time `release` on, and before `deadline`."""

    __slots__ = ("_count", "_total", "_weight", "backend", "deadline", "release")

    def __init__(self, backend: W, total: int) -> None:
        self.backend = backend
        self._weight = backend.weight
        self._total = total
        self._count = 0
        self.release = 0
        self.deadline = -(-total // self._weight)

    def advance(self) -> None:
        """Turn to the backend's next pick."""
        self._count = count = self._count + 1
        self.release = count * self._total // self._weight
        self.deadline = -(-(count + 1) * self._total // self._weight)


class ExactPicker(Generic[W]):
    """Picks in Tijdeman's order: O(log n) a pick, in integers.

    The first pick is drawn at random by weight, or every client would start with the heaviest
    backend. That keeps the bound: up to a time `t` before the drawn backend is due, the picks that
    must have come are `Σ floor(t·w/W)`, which is less than `t` unless every `t·w/W` is whole, and
    then the drawn backend is due as well. Ties are broken by an order drawn at random.

    A new picker starts anew: the bound holds from its first pick on, and the shares that the
    picker before it still owed are forgotten. To carry them over takes more than starting with
    them: not every set of debts can be paid within the bound.
    """

    __slots__ = ("_eligible", "_now", "_waiting")

    def __init__(self, backends: Sequence[W], rng: Random) -> None:
        weights = [backend.weight for backend in backends]
        total = sum(weights)
        slots = [_Slot(backend, total) for backend in backends]
        (first,) = rng.choices(slots, weights)
        first.deadline = 0
        rng.shuffle(slots)
        # Entries are (deadline, rank, slot) and (release, rank, slot). Ranks are unique: slots are
        # never compared.
        self._eligible = [(slot.deadline, rank, slot) for rank, slot in enumerate(slots)]
        self._waiting: list[tuple[int, int, _Slot[W]]] = []
        heapify(self._eligible)
        self._now = 0

    def pick(self) -> W:
        """See `Picker.pick`."""
        eligible, waiting, now = self._eligible, self._waiting, self._now
        while waiting and waiting[0][0] <= now:
            _, rank, slot = heappop(waiting)
            heappush(eligible, (slot.deadline, rank, slot))
        self._now = now = now + 1
        _, rank, slot = eligible[0]
        slot.advance()
        if slot.release <= now:
            heapreplace(eligible, (slot.deadline, rank, slot))
        else:
            heappop(eligible)
            heappush(waiting, (slot.release, rank, slot))
        return slot.backend

    def __repr__(self) -> str:
        return f"<ExactPicker of {len(self._eligible) + len(self._waiting)} backends>"


class WeightedRoundRobin:
    """The policy `weighted_round_robin`."""

    name = "weighted_round_robin"

    def build(self, backends: Sequence[W], rng: Random) -> Picker[W]:
        """See `Policy.build`."""
        if len({backend.weight for backend in backends}) == 1:
            return CyclicPicker(backends, rng)
        return ExactPicker(backends, rng)
