"""`weighted_round_robin`: exact shares by weight."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fair_schedule import FairSchedule
from client_resolver.core.fields import duration, flag
from client_resolver.core.picker import BasePolicy, Candidate, Picker
from client_resolver.core.pickers.measured_weights import History, MeasuredPicker, MeasuredWeights
from client_resolver.core.pickers.round_robin import CyclicPicker
from client_resolver.core.pickers.sampling import draw_untried

__all__ = ["ExactPicker", "WeightedRoundRobin"]

C = TypeVar("C", bound=Candidate)

_PERIOD = 10.0
"""The default of `oobReportingPeriod`, in seconds (gRFC A58)."""
_LEAST_PERIOD = 0.1


class ExactPicker(Generic[C]):
    """Picks in the order of `client_resolver.core.fair_schedule`: O(log n) a pick.

    What backends are owed outlasts changes of their weights. If the set of backends changes, all
    start again.

    A backend that an RPC skips because it was tried there loses that turn, and the order
    goes on: the others' picks stay within the bound of the turns that have passed. Where the
    tried backends are so heavy that no other comes up in as many turns as there are backends, one
    is drawn by weight, outside the order.

    Args:
        backends: The backends.
        weights: Theirs.
        rng: The source of all that is random.
        debts: What backends are owed by the picker before, in picks.

    Attributes:
        debts: Returns what each backend is owed, in picks.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_rng", "_take", "_weights", "debts")

    def __init__(
        self,
        backends: Sequence[C],
        weights: Sequence[int],
        rng: Random,
        debts: Mapping[C, float] | None = None,
    ) -> None:
        self._backends = tuple(backends)
        self._weights = tuple(weights)
        self._rng = rng
        turns = FairSchedule(self._backends, weights, rng, debts)
        self._take = turns.take
        self.debts = turns.debts

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        backend = self._take()
        if not tried or backend not in tried:
            return backend
        for _ in self._backends:
            backend = self._take()
            if backend not in tried:
                return backend
        return draw_untried(self._backends, tried, self._rng)

    def holds(self, backends: Sequence[C], weights: Sequence[int]) -> bool:
        """Whether these are its backends, of these weights."""
        return self._weights == tuple(weights) and self._backends == tuple(backends)

    def __repr__(self) -> str:
        return f"<ExactPicker of {len(self._backends)} backends>"


@dataclass(frozen=True)
class WeightedRoundRobin(BasePolicy):
    """The policy `weighted_round_robin`.

    Attributes:
        measured_weights: How weights come from the backends' own load reports, which then decide
            alone: the list's weights have no effect. None: the list's weights decide.
        load_period: See `Policy.load_period`. None: reports come with RPCs.
    """

    name: ClassVar[str] = "weighted_round_robin"
    measured_weights: MeasuredWeights | None = None
    load_period: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "WeightedRoundRobin":
        """Make the policy from its config: `backendMetrics`, and the fields of gRFC A58.

        Reports come out of band where `enableOobLoadReport` is true or `oobReportingPeriod` given.

        Raises:
            ValueError: A field can't be used.
        """
        period = duration(config, "oobReportingPeriod", None, low=_LEAST_PERIOD)
        by_stream = flag(config, "enableOobLoadReport", period is not None)
        measured = MeasuredWeights.from_config(config)
        if not flag(config, "backendMetrics", default=False):
            return cls()
        return cls(measured, (period or _PERIOD) if by_stream else None)

    @property
    def load_reports(self) -> bool:
        """See `Policy.load_reports`."""
        return self.measured_weights is not None and self.load_period is None

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
    even = min(weights) == max(weights)
    debts = None
    if isinstance(before, CyclicPicker):
        if even and before.holds(backends):
            return before
        debts = before.debts()
    elif isinstance(before, ExactPicker):
        if before.holds(backends, weights):
            return before
        debts = before.debts()
    return (
        CyclicPicker(backends, rng, debts) if even else ExactPicker(backends, weights, rng, debts)
    )
