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
    """Compare two lists, each ordered by address and port, with each target once."""
    # Most changes touch few endpoints of many, and the others are the very same records.
    start = _same_start(before, after)
    before, after = before[start:], after[start:]
    end = _same_start(before[::-1], after[::-1])
    before, after = before[: len(before) - end], after[: len(after) - end]
    same = set(map(id, before)).intersection(map(id, after))
    old = {one.target: one for one in before if id(one) not in same}
    new = {one.target: one for one in after if id(one) not in same}
    return Difference(
        tuple(one for target, one in new.items() if old.get(target) != one),
        tuple(target for target in old if target not in new),
    )


def _same_start(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> int:
    pairs = enumerate(zip(before, after, strict=False))
    unlike = (i for i, (one, other) in pairs if one is not other and one != other)
    return next(unlike, min(len(before), len(after)))
