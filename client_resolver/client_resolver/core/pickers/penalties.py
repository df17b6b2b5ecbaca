"""Turns that backends sit out for RPCs that failed on them.

A backend that fails at once is always idle and looks fast, so a picker by load or latency would
send it nearly everything. Each failed RPC therefore costs its backend `_FAILURE_TURNS` turns,
a turn being as many picks as there are for one of its own when every backend has its share. However
fast it fails, it gets at most its share: more would be more turns to sit out than there are picks.

Turns are counted in picks, not in seconds, because what is usual for an RPC isn't known: a method
may answer in a millisecond or stream for an hour.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from client_resolver.core.guard import Guard
from client_resolver.core.picker import Candidate

__all__ = ["Penalties"]

C = TypeVar("C", bound=Candidate)

_FAILURE_TURNS = 1.5
"""How many turns a failure costs. By simulation, one turn holds a backend to its share that always
fails, but not one that fails half of its RPCs (1.17 shares): its load is low as well."""
_OVERLOAD_TURNS = 3.0
"""How many turns a failure costs that shows overload: at most a third of the share is left."""


class Penalties(Generic[C]):
    """Says which backends sit out, and for how many more picks.

    Any thread may call it at any time. Code that interrupts its own thread in here gets the backend
    that was drawn first, and a failure that it reports costs no turn.

    Args:
        backends: The backends that are picked from.
        known: What they owe by the picker before.

    Attributes:
        guard: Held for each step.
        picks: How many picks were made while a backend sat out.
        left: By backend, until which pick it sits out. A backend that sits out nothing isn't there.
    """

    __slots__ = ("_backends", "_total", "guard", "left", "picks")

    def __init__(self, backends: Sequence[C], known: "Penalties[C] | None" = None) -> None:
        # One for all that follow each other: each takes over what the one before is changing.
        self.guard: Guard = Guard() if known is None else known.guard
        self._backends = frozenset(backends)
        self._total = sum(backend.weight for backend in backends)
        self.picks: float = 0.0 if known is None else known.picks
        owed: Mapping[Candidate, float] = {} if known is None else known.left.copy()
        self.left: dict[Candidate, float] = {
            backend: until for backend, until in owed.items() if backend in self._backends
        }

    def failed(
        self,
        backend: Candidate,
        seconds: float,  # noqa: ARG002 (however long it took, it was a turn)
        *,
        overload: bool,
    ) -> None:
        """See `CountingFailures.failed`. A backend that isn't picked from is ignored."""
        if backend not in self._backends:
            return
        turns = _OVERLOAD_TURNS if overload else _FAILURE_TURNS
        self.guard.run(lambda: self._sit_out(backend, turns), _costs_nothing)

    def _sit_out(self, backend: Candidate, turns: float) -> None:
        since = max(self.picks, self.left.get(backend, 0.0))
        self.left[backend] = since + turns * self._total / backend.weight

    def pick(self, drawn: Sequence[C], cost: Callable[[C], float]) -> C:
        """Choose one of the backends that were drawn: the one that sits out the least.

        Args:
            drawn: The backends, in the order of the draw.
            cost: Decides between those that sit out equally long, or nothing.
        """
        return self.guard.run(lambda: self._choose(drawn, cost), lambda: drawn[0])

    def _choose(self, drawn: Sequence[C], cost: Callable[[C], float]) -> C:
        self.picks += 1
        left = self.left
        if len(left) == len(self._backends):
            # All sit out: the one that would be the next to come back comes back now.
            first = min(left, key=left.__getitem__)
            self.picks = max(self.picks, left.pop(first))
        for backend in {*drawn}:
            if left.get(backend, math.inf) <= self.picks:
                del left[backend]
        return min(drawn, key=lambda backend: (left.get(backend, 0.0), cost(backend)))


def _costs_nothing() -> None:
    """One failure that isn't counted is made up for by the next."""
