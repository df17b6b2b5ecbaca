"""`least_request`: of a few backends drawn at random, the one with the fewest RPCs (gRFC A48)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fields import number, whole
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.penalties import Penalties
from client_resolver.core.pickers.sampling import equal_weights, sampler

__all__ = ["BusiestLastPicker", "LeastRequest", "WeightedLeastPicker"]

C = TypeVar("C", bound=Candidate)


class BusiestLastPicker(Generic[C]):
    """Draws `choices` backends, each time from all, and takes the one with the fewest RPCs.

    No backend starves: each is drawn as often as any other, and loses only to one that is less
    busy. With every other busier, a backend of `n` gets `1 - (1 - 1/n)^choices` of the picks.

    Attributes:
        penalties: Which backends sit out for RPCs that failed on them.
        failed: See `CountingFailures.failed`.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_choices", "_draw", "_rng", "failed", "penalties")

    def __init__(
        self, backends: Sequence[C], rng: Random, choices: int, penalties: Penalties[C]
    ) -> None:
        self._backends = tuple(backends)
        self._choices = choices
        self._draw = sampler(self._backends, rng)
        self._rng = rng
        self.penalties = penalties
        self.failed = penalties.failed

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        draw = self._draw if not tried else sampler(untried(self._backends, tried), self._rng)
        if self.penalties.left:
            drawn = [draw() for _ in range(self._choices)]
            return self.penalties.pick(drawn, lambda backend: len(backend.in_flight))
        best = draw()
        least = len(best.in_flight)
        for _ in range(self._choices - 1):
            other = draw()
            load = len(other.in_flight)
            if load < least:
                best, least = other, load
        return best

    def __repr__(self) -> str:
        return f"<BusiestLastPicker of {len(self._backends)} backends, {self._choices} choices>"


class WeightedLeastPicker(Generic[C]):
    """Draws `choices` backends by weight and takes the one with the least load for its weight.

    A backend's load is `in_flight^bias / weight`. Where loads are equal, as those of idle backends
    are, the first drawn is taken: then the shares are those of the weights. Under load, RPCs in
    flight settle where the loads are equal: with a bias of 1 in proportion to the weights, with
    more of it the more evenly. A bias of 0 leaves the weights alone to decide, as in Envoy.

    Envoy's own way, a schedule by `weight / (in_flight + 1)^bias`, fixes a backend's next turn by
    how busy it was at its last: after a burst it goes without long after it is idle. A draw looks
    at how busy it is now.

    Attributes:
        penalties: Which backends sit out for RPCs that failed on them.
        failed: See `CountingFailures.failed`.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_bias", "_choices", "_draw", "_rng", "failed", "penalties")

    def __init__(
        self,
        backends: Sequence[C],
        rng: Random,
        choices: int,
        bias: float,
        penalties: Penalties[C],
    ) -> None:
        self.penalties = penalties
        self.failed = penalties.failed
        self._backends = tuple(backends)
        self._choices = choices if bias > 0 else 1
        self._bias = bias
        self._draw = sampler(self._backends, rng)
        self._rng = rng

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        draw = self._draw if not tried else sampler(untried(self._backends, tried), self._rng)
        bias = self._bias
        if self.penalties.left:
            drawn = [draw() for _ in range(self._choices)]
            return self.penalties.pick(drawn, lambda one: len(one.in_flight) ** bias / one.weight)
        best = draw()
        least = len(best.in_flight) ** bias / best.weight
        for _ in range(self._choices - 1):
            other = draw()
            load = len(other.in_flight) ** bias / other.weight
            if load < least:
                best, least = other, load
        return best

    def __repr__(self) -> str:
        return f"<WeightedLeastPicker of {len(self._backends)} backends, {self._choices} choices>"


@dataclass(frozen=True)
class LeastRequest(BasePolicy):
    """The policy `least_request`.

    Attributes:
        choices: How many backends are drawn for a pick, from 2 to 100.
        bias: How much RPCs in flight count against weights, where weights are unequal.
    """

    name: ClassVar[str] = "least_request"
    counts_failures: ClassVar[bool] = True
    choices: int = 2
    bias: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "LeastRequest":
        """Make the policy from its config: `choiceCount` and `activeRequestBias`.

        Raises:
            ValueError: A field can't be used.
        """
        return cls(
            choices=whole(config, "choiceCount", 2, low=2, high=100),
            bias=number(config, "activeRequestBias", 1.0, low=0, high=100),
        )

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. What backends sit out is kept."""
        known = None
        if isinstance(before, BusiestLastPicker | WeightedLeastPicker):
            known = before.penalties
        penalties = Penalties(backends, known)
        if equal_weights(backends):
            return BusiestLastPicker(backends, rng, self.choices, penalties)
        return WeightedLeastPicker(backends, rng, self.choices, self.bias, penalties)
