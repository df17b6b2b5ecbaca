"""`least_request`: of a few backends drawn at random, the one with the fewest RPCs (gRFC A48)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.fields import number, whole
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.sampling import equal_weights, sampler

__all__ = ["BusiestLastPicker", "LeastRequest", "WeightedLeastPicker"]

C = TypeVar("C", bound=Candidate)


class BusiestLastPicker(Generic[C]):
    """Draws `choices` backends, each time from all, and takes the one with the fewest RPCs.

    No backend starves: each is drawn as often as any other, and loses only to one that is less
    busy. With every other busier, a backend of `n` gets `1 - (1 - 1/n)^choices` of the picks.
    """

    __slots__ = ("_backends", "_choices", "_draw", "_rng")

    def __init__(self, backends: Sequence[C], rng: Random, choices: int) -> None:
        self._backends = tuple(backends)
        self._choices = choices
        self._draw = sampler(self._backends, rng)
        self._rng = rng

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        draw = self._draw if not tried else sampler(untried(self._backends, tried), self._rng)
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
    """

    __slots__ = ("_backends", "_bias", "_choices", "_draw", "_rng")

    def __init__(self, backends: Sequence[C], rng: Random, choices: int, bias: float) -> None:
        self._backends = tuple(backends)
        self._choices = choices if bias > 0 else 1
        self._bias = bias
        self._draw = sampler(self._backends, rng)
        self._rng = rng

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        draw = self._draw if not tried else sampler(untried(self._backends, tried), self._rng)
        bias = self._bias
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
        before: Picker[C] | None,  # noqa: ARG002
    ) -> Picker[C]:
        """See `Policy.build`."""
        if equal_weights(backends):
            return BusiestLastPicker(backends, rng, self.choices)
        return WeightedLeastPicker(backends, rng, self.choices, self.bias)
