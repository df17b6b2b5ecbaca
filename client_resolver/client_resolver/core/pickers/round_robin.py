"""`round_robin`: every backend in turn, whatever the weights."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import ClassVar, Generic, TypeVar

from client_resolver.core.picker import BasePolicy, Candidate, Picker

__all__ = ["CyclicPicker", "RoundRobin"]

C = TypeVar("C", bound=Candidate)


class CyclicPicker(Generic[C]):
    """Goes through its backends in a fixed order that is drawn at random.

    A random order rather than a random start alone: clients that start together don't follow each
    other from backend to backend.

    A backend that an RPC passes over because it was tried there loses that turn. The others keep
    theirs, so that any two that were not passed over differ by one pick at most.
    """

    __slots__ = ("_next", "_order")

    def __init__(self, backends: Sequence[C], rng: Random) -> None:
        self._order = rng.sample(backends, len(backends))
        self._next = cycle(self._order).__next__

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:  # noqa: ARG002
        """See `Picker.pick`."""
        if not tried:
            return self._next()
        # After one round the order stands where it stood: that pick is right if all were tried.
        for _ in self._order:
            backend = self._next()
            if backend not in tried:
                return backend
        return self._next()

    def holds(self, backends: Sequence[C]) -> bool:
        """Whether these are the backends that it goes through."""
        return len(backends) == len(self._order) and set(backends) == set(self._order)

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
        """See `Policy.build`. The same backends go on in the order that they had."""
        if isinstance(before, CyclicPicker) and before.holds(backends):
            return before
        return CyclicPicker(backends, rng)
