"""Whose turn it is among several of unequal weights: exact shares, from a random starting point.

Something of weight `w` among a sum of weights `W` is due `w/W` of a turn in each. Tijdeman's
solution of the chairman assignment problem (R. Tijdeman, "The chairman assignment problem",
Discrete Mathematics 32, 1980) keeps what each has got within less than one turn of what it was due
at any time: a turn may be taken once what is due exceeds what was got, and must be taken before it
exceeds that by one; among those that may come now, the one that must come first does.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from math import fsum
from random import Random
from typing import Generic, TypeVar

from client_resolver.core.guard import Guard

__all__ = ["FairSchedule"]

T = TypeVar("T")

_BITS = 20
"""Phases and debts are kept in parts of 2^-20 of a turn."""


class _Slot(Generic[T]):
    """One's next turn: due from the end of the one before on, and before its own end.

    Times are counted in turns of all, in integers: whole turns, and parts, `weight` to a turn.
    So nothing drifts.
    """

    __slots__ = ("begin", "end", "end_part", "item", "part", "rank", "weight", "whole")

    def __init__(self, item: T, rank: int, weight: int, total: int, late: int) -> None:
        self.item = item
        self.rank = rank
        self.weight = weight
        # A turn is due every total / weight turns.
        self.whole, self.part = divmod(total, weight)
        self.end, self.end_part = divmod(total - late, weight)
        self.begin = -late // weight

    def entry(self) -> "tuple[int, float, int, _Slot[T]]":
        """Return its entry in the queue of those that may come: by when it must come.

        Ranks are unique, so that slots are never compared.
        """
        return self.end, self.end_part / self.weight, self.rank, self


class FairSchedule(Generic[T]):
    """An endless order of turns: O(log n) for each.

    What one was due more than it got is its debt, less than one turn at any time, either way. All
    begin as if they had been at it for long, with debts drawn at random: from the first turn on,
    whose turn it is is as likely as its weight says. Without that, all who start at the same time
    would begin with the heaviest, and who starts often would hardly get to the light ones.

    That works as follows. Let each be due a random part of a turn. Those parts sum to `m` turns
    and a rest; `m` turns have been taken then, by those who must have theirs first. That keeps the
    bound: by any later time `t`, what must have been taken is `Σ floor(part + t·w/W)`, at most
    `m + t`.

    Debts may be taken over when weights change. Nothing is forgotten then, while the bound may be
    missed by a little: not every set of debts can be paid in time.

    Args:
        items: Who takes part: at least one, each once.
        weights: Theirs: at least 1 each.
        rng: The source of the starting point.
        debts: What they are owed by the order before, in turns: see `debts`. If those are not the
            same items, it has no effect.
    """

    __slots__ = (
        "_eligible",
        "_guard",
        "_items",
        "_now",
        "_rng",
        "_slots",
        "_torn",
        "_total",
        "_waiting",
    )

    def __init__(
        self,
        items: Sequence[T],
        weights: Sequence[int],
        rng: Random,
        debts: Mapping[T, float] | None = None,
    ) -> None:
        self._guard = Guard()
        self._rng = rng
        self._items = tuple(items)
        self._now = 0
        self._torn = True
        weight_of_all = sum(weights)
        self._total = total = weight_of_all << _BITS
        if debts is not None and debts.keys() == set(items):
            owed = _rounded([debts[item] for item in items], weights)
        else:
            owed = _drawn(weights, rng)
        self._slots: list[_Slot[T]] = []
        for rank, (item, weight, debt) in enumerate(zip(items, weights, owed, strict=True)):
            self._slots.append(_Slot(item, rank, weight << _BITS, total, debt * weight_of_all))
        self._eligible: list[tuple[int, float, int, _Slot[T]]] = []
        self._waiting: list[tuple[int, int, _Slot[T]]] = []

    def take(self) -> T:
        """Return whose turn it is, and go on. Any thread may call it at any time.

        Code that interrupts its own thread in here gets a random one: the order is
        between two turns.
        """
        return self._guard.run(self._take, self._draw)

    def debts(self) -> dict[T, float]:
        """Return what each was due more than it got, in turns."""
        return self._guard.run(self._debts, self._debts)

    def _draw(self) -> T:
        return self._items[int(self._rng.random() * len(self._items))]

    def _take(self) -> T:
        if self._torn:
            self._sort()
        self._torn = True
        eligible, waiting, now = self._eligible, self._waiting, self._now
        while waiting and waiting[0][0] <= now:
            heappush(eligible, heappop(waiting)[2].entry())
        self._now = now = now + 1
        slot = eligible[0][3]
        begin = slot.end
        end = begin + slot.whole
        part = slot.end_part + slot.part
        if part >= slot.weight:
            part -= slot.weight
            end += 1
        slot.begin, slot.end, slot.end_part = begin, end, part
        if begin <= now:
            heapreplace(eligible, slot.entry())
        else:
            heappop(eligible)
            heappush(waiting, (begin, slot.rank, slot))
        self._torn = False
        return slot.item

    def _sort(self) -> None:
        """Queue all slots again.

        An exception of a signal handler may have come between two steps of `_take`: the slots are
        whole then, while one may be in no queue.
        """
        self._eligible, self._waiting = [], []
        for slot in self._slots:
            heappush(self._waiting, (slot.begin, slot.rank, slot))

    def _debts(self) -> dict[T, float]:
        return {
            slot.item: 1 + ((self._now - slot.end) * slot.weight - slot.end_part) / self._total
            for slot in self._slots
        }


def _drawn(weights: Sequence[int], rng: Random) -> list[int]:
    """Draw debts at random, in parts of a turn."""
    owed = [rng.getrandbits(_BITS) for _ in weights]
    for place in _soonest(weights, owed)[: sum(owed) >> _BITS]:
        owed[place] -= 1 << _BITS
    return owed


def _rounded(debts: Sequence[float], weights: Sequence[int]) -> list[int]:
    """Return debts in parts of a turn, less each one's part of what they sum to."""
    each = fsum(debts) / sum(weights)
    rest = [debt - each * weight for debt, weight in zip(debts, weights, strict=True)]
    return [round(debt * (1 << _BITS)) for debt in rest]


def _soonest(weights: Sequence[int], owed: Sequence[int]) -> list[int]:
    """Return the places in the order in which debts grow to a whole turn."""
    one = 1 << _BITS
    return sorted(range(len(owed)), key=lambda place: (one - owed[place]) / weights[place])
