"""What a load-balancing policy is: it builds pickers, and a picker picks."""

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

__all__ = ["Picker", "Policy", "Weighted"]


class Weighted(Protocol):
    """What a policy may know of a backend."""

    @property
    def weight(self) -> int:
        """The share of requests that the backend should get, relative to the others."""


W = TypeVar("W", bound=Weighted)
W_co = TypeVar("W_co", bound=Weighted, covariant=True)


class Picker(Protocol[W_co]):
    """Picks a backend for one RPC after another.

    The set of backends that it picks from never changes: a change makes a new picker. A picker is
    not thread-safe: where several threads share one, its owner serialises `pick`.
    """

    def pick(self) -> W_co:
        """Return the backend for the next RPC. Never waits, never fails."""


class Policy(Protocol):
    """Builds the pickers of one load-balancing policy."""

    @property
    def name(self) -> str:
        """The policy's name in a service config."""

    def build(self, backends: Sequence[W], rng: Random) -> Picker[W]:
        """Make a picker over backends that are ready.

        Args:
            backends: At least one, each with a weight of at least 1.
            rng: The source of the picker's starting point.

        Returns:
            A picker over exactly these backends.
        """
