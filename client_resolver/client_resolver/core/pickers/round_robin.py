"""`round_robin`: every backend in turn, whatever the weights."""

from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from typing import Generic, TypeVar

from client_resolver.core.picker import Picker, Weighted

__all__ = ["CyclicPicker", "RoundRobin"]

W = TypeVar("W", bound=Weighted)


class CyclicPicker(Generic[W]):
    """Goes through its backends in a fixed order that is drawn at random.

    A random order rather than a random start alone: clients that start together don't follow each
    other from backend to backend.
    """

    __slots__ = ("_backends", "pick")

    pick: Callable[[], W]

    def __init__(self, backends: Sequence[W], rng: Random) -> None:
        self._backends = rng.sample(backends, len(backends))
        self.pick = cycle(self._backends).__next__

    def __repr__(self) -> str:
        return f"<CyclicPicker of {len(self._backends)} backends>"


class RoundRobin:
    """The policy `round_robin`."""

    name = "round_robin"

    def build(self, backends: Sequence[W], rng: Random) -> Picker[W]:
        """See `Policy.build`."""
        return CyclicPicker(backends, rng)
