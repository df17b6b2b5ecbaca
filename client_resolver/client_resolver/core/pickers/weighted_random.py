"""`random`: each pick is drawn by weight, whatever was picked before."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.picker import BasePolicy, Candidate, Picker
from client_resolver.core.pickers.sampling import draw_untried, sampler

__all__ = ["RandomPicker", "WeightedRandom"]

C = TypeVar("C", bound=Candidate)


class RandomPicker(Generic[C]):
    """Draws a backend by weight; among those that were not tried, where some were."""

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_draw", "_rng")

    def __init__(self, backends: Sequence[C], rng: Random) -> None:
        self._backends = tuple(backends)
        self._draw = sampler(self._backends, rng)
        self._rng = rng

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        if tried:
            return draw_untried(self._backends, tried, self._rng)
        return self._draw()

    def __repr__(self) -> str:
        return f"<RandomPicker of {len(self._backends)} backends>"


@dataclass(frozen=True)
class WeightedRandom(BasePolicy):
    """The policy `random`."""

    name: ClassVar[str] = "random"

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "WeightedRandom":  # noqa: ARG003
        """Make the policy from its config, which has no fields."""
        return cls()

    def build(
        self,
        backends: Sequence[C],
        rng: Random,
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,  # noqa: ARG002
    ) -> Picker[C]:
        """See `Policy.build`."""
        return RandomPicker(backends, rng)
