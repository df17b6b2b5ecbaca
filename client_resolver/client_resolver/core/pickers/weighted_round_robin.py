"""`weighted_round_robin`: exact shares by weight.

A backend of weight `w` among a sum of weights `W` is due `k·w/W` of the first `k` picks. Tijdeman's
solution of the chairman assignment problem (R. Tijdeman, "The chairman assignment problem",
Discrete Mathematics 32, 1980) keeps every backend within less than one pick of that at every `k`:
pick number `j` of a backend, from 0, must not come before its due share exceeds `j` and must come
before it exceeds `j + 1`; among those that may come now, the one that must come first is picked.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fields import flag
from client_resolver.core.picker import BasePolicy, Candidate, Picker
from client_resolver.core.pickers.measured_weights import History, MeasuredPicker, MeasuredWeights
from client_resolver.core.pickers.round_robin import CyclicPicker
from client_resolver.core.pickers.sampling import draw_untried

__all__ = ["ExactPicker", "WeightedRoundRobin"]

C = TypeVar("C", bound=Candidate)


class _Slot(Generic[C]):
    """The next pick of one backend: it may come from time `release` on, and before `deadline`."""

    __slots__ = ("_count", "_total", "_weight", "backend", "deadline", "release")

    def __init__(self, backend: C, weight: int, total: int) -> None:
        self.backend = backend
        self._weight = weight
        self._total = total
        self._count = 0
        self.release = 0
        self.deadline = -(-total // weight)

    def advance(self) -> None:
        """Turn to the backend's next pick."""
        self._count = count = self._count + 1
        self.release = count * self._total // self._weight
        self.deadline = -(-(count + 1) * self._total // self._weight)


class ExactPicker(Generic[C]):
    """Picks in Tijdeman's order: O(log n) a pick, in integers.

    The first pick is drawn at random by weight, or every client would start with the heaviest
    backend. That keeps the bound: up to a time `t` before the drawn backend is due, the picks that
    must have come are `Σ floor(t·w/W)`, which is less than `t` unless every `t·w/W` is whole, and
    then the drawn backend is due as well. Ties are broken by an order drawn at random.

    A new picker starts anew: the bound holds from its first pick on, and the shares that the
    picker before it still owed are forgotten. To carry them over takes more than starting with
    them: not every set of debts can be paid within the bound.

    A backend that an RPC passes over because it was tried there loses that turn, and the order
    goes on: the others' picks stay within the bound of the turns that have gone by. Where the
    tried backends are so heavy that no other comes up in as many turns as there are backends, one
    is drawn by weight, outside the order.
    """

    __slots__ = ("_backends", "_eligible", "_now", "_rng", "_waiting", "_weights")

    def __init__(self, backends: Sequence[C], weights: Sequence[int], rng: Random) -> None:
        self._backends = tuple(backends)
        self._weights = tuple(weights)
        self._rng = rng
        total = sum(weights)
        slots = [
            _Slot(backend, weight, total) for backend, weight in zip(backends, weights, strict=True)
        ]
        (first,) = rng.choices(slots, weights)
        first.deadline = 0
        rng.shuffle(slots)
        # Entries are (deadline, rank, slot) and (release, rank, slot). Ranks are unique: slots are
        # never compared.
        self._eligible = [(slot.deadline, rank, slot) for rank, slot in enumerate(slots)]
        self._waiting: list[tuple[int, int, _Slot[C]]] = []
        heapify(self._eligible)
        self._now = 0

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:
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
        if tried and slot.backend in tried:
            return self._other(key, tried)
        return slot.backend

    def holds(self, backends: Sequence[C], weights: Sequence[int]) -> bool:
        """Whether these are its backends, of these weights."""
        return self._weights == tuple(weights) and self._backends == tuple(backends)

    def _other(self, key: int, tried: Collection[object]) -> C:
        for _ in self._backends:
            backend = self.pick(key)
            if backend not in tried:
                return backend
        return draw_untried(self._backends, tried, self._rng)

    def __repr__(self) -> str:
        return f"<ExactPicker of {len(self._backends)} backends>"


@dataclass(frozen=True)
class WeightedRoundRobin(BasePolicy):
    """The policy `weighted_round_robin`.

    Attributes:
        measured_weights: How weights come from the backends' own load reports, which then decide
            alone: the list's weights have no effect. None: the list's weights decide.
    """

    name: ClassVar[str] = "weighted_round_robin"
    measured_weights: MeasuredWeights | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "WeightedRoundRobin":
        """Make the policy from its config: `backendMetrics`, and the fields of gRFC A58.

        Raises:
            ValueError: A field can't be used.
        """
        if flag(config, "enableOobLoadReport", default=False):
            raise ValueError(
                "enableOobLoadReport is true: load reports are read from trailing metadata alone"
            )
        measured = MeasuredWeights.from_config(config)
        return cls(measured if flag(config, "backendMetrics", default=False) else None)

    @property
    def load_reports(self) -> bool:
        """See `Policy.load_reports`."""
        return self.measured_weights is not None

    @property
    def refresh(self) -> float | None:
        """See `Policy.refresh`."""
        return self.measured_weights.update_period if self.measured_weights is not None else None

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. The same backends with the same weights go on where they were."""
        if self.measured_weights is None:
            return _by_weight(backends, [b.weight for b in backends], rng, before)
        known: Mapping[str, History] = {}
        inner = before
        if isinstance(before, MeasuredPicker):
            known, inner = before.histories, before.inner
        histories = self.measured_weights.take_in(backends, known)
        weights = self.measured_weights.weights(backends, histories, now())
        return MeasuredPicker(_by_weight(backends, weights, rng, inner), histories)


def _by_weight(
    backends: Sequence[C], weights: Sequence[int], rng: Random, before: Picker[C] | None
) -> Picker[C]:
    if min(weights) == max(weights):
        if isinstance(before, CyclicPicker) and before.holds(backends):
            return before
        return CyclicPicker(backends, rng)
    if isinstance(before, ExactPicker) and before.holds(backends, weights):
        return before
    return ExactPicker(backends, weights, rng)
