"""Selects the next of several balancers."""

from collections.abc import Sequence
from random import Random

from client_resolver.core.address import Address

__all__ = ["Balancers"]


class Balancers:
    """Goes round the balancers in an order of its own.

    Each client draws its order once: clients spread over the balancers, and those of one that is
    lost spread over all that remain, not over its neighbour alone.

    Args:
        addresses: The balancers, at least one.
        rng: The source of the order.
    """

    def __init__(self, addresses: Sequence[Address], rng: Random) -> None:
        self._order = rng.sample(addresses, len(addresses))
        self._place = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def current(self) -> Address:
        """The one to ask."""
        return self._order[self._place]

    def move_on(self) -> bool:
        """Turn to the next one: a watch has ended. Return whether it is another."""
        self._place = (self._place + 1) % len(self._order)
        return len(self._order) > 1

    def wait(self, delay: float) -> float:
        """Return the part of a wait, in seconds, that goes before the next one is asked.

        A round takes as long as with one balancer, which is asked as often: whichever of them is
        back first is found within the same time.
        """
        return delay / len(self._order)

    def place(self, details: str) -> str:
        """Say which one a failure's details are of, where there are several."""
        return details if len(self._order) == 1 else f"at {self.current.text}: {details}"
