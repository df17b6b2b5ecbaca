"""The difference between two lists."""

from collections.abc import Sequence

from msgspec import Struct

from lookaside.model import Endpoint
from lookaside.registry.steps import CHUNK, Steps, chunks, finish


class ListDiff(Struct, frozen=True, gc=False):
    """The changes from one list to another.

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


def diff(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> ListDiff:
    """Compare two lists, each ordered by address and port, with each target once."""
    return finish(diffing(before, after))


def diffing(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> Steps[ListDiff]:
    """Compare two lists, in steps."""
    # Most changes touch few endpoints of many, and the others are identical objects.
    start = yield from _same_start(before, after)
    before, after = before[start:], after[start:]
    end = yield from _same_start(before[::-1], after[::-1])
    before, after = before[: len(before) - end], after[: len(after) - end]
    held: set[int] = set()
    for chunk in chunks(before):
        held.update(map(id, chunk))
        yield 0
    same: set[int] = set()
    for chunk in chunks(after):
        same.update(held.intersection(map(id, chunk)))
        yield 0
    old: dict[str, Endpoint] = {}
    new: dict[str, Endpoint] = {}
    for some, found in ((before, old), (after, new)):
        for chunk in chunks(some):
            found.update((one.target, one) for one in chunk if id(one) not in same)
            yield 0
    changed: list[Endpoint] = []
    for pairs in chunks(tuple(new.items())):
        changed += [one for target, one in pairs if old.get(target) != one]
        yield 0
    return ListDiff(tuple(changed), tuple(target for target in old if target not in new))


def _same_start(before: Sequence[Endpoint], after: Sequence[Endpoint]) -> Steps[int]:
    for start in range(0, min(len(before), len(after)), CHUNK):
        pairs = zip(before[start : start + CHUNK], after[start : start + CHUNK], strict=False)
        unlike = (i for i, (one, other) in enumerate(pairs) if one is not other and one != other)
        first = next(unlike, None)
        if first is not None:
            return start + first
        yield 0
    return min(len(before), len(after))
