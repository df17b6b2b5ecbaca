"""What has changed from one list to another."""

from collections.abc import Sequence

from msgspec import Struct

from lookaside.model import Endpoint


class Difference(Struct, frozen=True):
    """How one list becomes another.

    Attributes:
        changed: The endpoints that are new or have changed, in ascending order.
        removed: The targets of those that have gone, in the order of the old list.
    """

    changed: tuple[Endpoint, ...]
    removed: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many endpoints it names."""
        return len(self.changed) + len(self.removed)


def diff(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> Difference:
    """Compare two lists, each ordered by address and port.

    Most changes touch few endpoints of many: what both lists begin and end with is passed over
    first.
    """
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old = {one.target: one for one in before[start : len(before) - end]}
    new = {one.target: one for one in after[start : len(after) - end]}
    return Difference(
        tuple(one for target, one in new.items() if old.get(target) != one),
        tuple(target for target in old if target not in new),
    )
