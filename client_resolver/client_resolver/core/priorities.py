"""Priorities by locality: near backends first, and no more spilt over than they can't carry.

Envoy's priority load: a level that has all its backends, or nearly so, takes all that comes to it.
One that has lost many takes its healthy part times the overprovisioning factor, and the next level
the rest. Where all levels together can't carry 100 %, what each carries is scaled up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from client_resolver.core.fields import check, listed, whole
from client_resolver.core.model import Endpoint
from client_resolver.core.priority_picker import Level, PriorityPicker

__all__ = ["LEVELS", "Level", "LocalityPriorities", "PriorityPicker"]

LEVELS = ("node", "zone")
"""The levels that there can be, in their order."""


@dataclass(frozen=True, slots=True)
class LocalityPriorities:
    """Priorities of backends.

    Attributes:
        levels: Of `LEVELS`, in that order: backends on the client's own node, in its zone. One
            level more, the last, holds all others.
        overprovisioning_factor: In percent: what a level's healthy part is multiplied by. 140: a
            level spills over once less than 100 / 140 of it, 71.4 %, is available.

    Raises:
        ValueError: One is out of range.
    """

    levels: tuple[str, ...]
    overprovisioning_factor: int = 140

    def __post_init__(self) -> None:
        if not self.levels or self.levels != tuple(one for one in LEVELS if one in self.levels):
            raise ValueError(
                f"levels is {list(self.levels)!r}: one or more of {list(LEVELS)!r}, in this order,"
                " is allowed"
            )
        check("overprovisioningFactor", self.overprovisioning_factor, low=100, high=2**32 - 1)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `localityPriorities` of a service config.

        Raises:
            ValueError: A field is malformed or out of range, or `levels` is missing.
        """
        levels = listed(config, "levels", None)
        if levels is None:
            raise ValueError("levels is missing")
        return cls(
            tuple(map(str, levels)),
            whole(config, "overprovisioningFactor", 140),
        )

    @property
    def count(self) -> int:
        """How many levels there are, the last one among them."""
        return len(self.levels) + 1

    def level_of(self, endpoint: Endpoint, zone: str, node: str) -> int:
        """Return the level of a backend, 0 for the nearest.

        Args:
            endpoint: The backend.
            zone: The client's own zone. Empty: unknown, so that no backend is in it.
            node: The client's own node. Empty: unknown.
        """
        for level, name in enumerate(self.levels):
            own, its = (node, endpoint.node) if name == "node" else (zone, endpoint.zone)
            if own and own == its:
                return level
        return len(self.levels)

    def shares(self, levels: Sequence[tuple[int, int]]) -> list[float]:
        """Return the part of the RPCs that each level gets.

        Args:
            levels: Of each level: how many backends are available, and how many it has.

        Returns:
            Numbers from 0 to 1 that sum to 1. With no backend available anywhere: by how many each
            level has. Nothing for no levels.
        """
        factor = self.overprovisioning_factor / 100
        carried = [
            min(1.0, available * factor / total) if total else 0.0 for available, total in levels
        ]
        carried_by_all = sum(carried)
        if carried_by_all == 0:
            backends = sum(total for _, total in levels)
            if backends:
                return [total / backends for _, total in levels]
            return [1.0 if level == 0 else 0.0 for level in range(len(levels))]
        if carried_by_all < 1:
            return [one / carried_by_all for one in carried]
        shares = []
        left = 1.0
        for one in carried:
            share = min(left, one)
            left -= share
            shares.append(share)
        return shares
