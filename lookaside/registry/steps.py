"""Work in steps, so that its runner can do other things in between.

A large cluster's lists have a hundred thousand endpoints, and ten thousand watch one of them. Here
is no loop to give way to: what takes long is a generator, and the side that does I/O runs it.
"""

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

T = TypeVar("T")

Steps = Generator[int, None, T]
"""Work that returns a T.

Between two steps it gives how many watchers it has woken, one who gets a long message counted as
several.
"""

CHUNK = 500
"""Endpoints that one step goes through: less than 5 ms on any machine."""

WAKES = 50
"""Watchers that one step wakes: each then writes a message, which takes some 40 us."""


def finish(steps: Steps[T]) -> T:
    """Do all of it now."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def sorting(keys: Iterable[str]) -> Steps[list[str]]:
    """Return keys in ascending order: portions are sorted, and then merged two by two."""
    runs: list[list[str]] = []
    for portion in portions(keys):
        runs.append(sorted(portion))
        yield 0
    while len(runs) > 1:
        merged = []
        for start in range(0, len(runs), 2):
            run = [key for pair in runs[start : start + 2] for key in pair]
            # Of two sorted runs this is a merge: see Timsort.
            run.sort()
            merged.append(run)
            yield 0
        runs = merged
    return runs[0] if runs else []


def portions(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Return what can be iterated over in lists of some length; it must not change meanwhile."""
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Return the items in sequences of some length."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Worker(Protocol):
    """Does work in steps, for each key one after the other."""

    def ask(self, key: Hashable, make: Callable[[], Steps[None]], *, rests: bool = True) -> None:
        """Have work done.

        Asked again before it has started, it is done once. Asked again while it runs, it starts
        again when it is done.

        Args:
            key: Whose work it is.
            make: Begins it.
            rests: Whether the key's next work waits for longer the more this one has cost.
        """


class AtOnce:
    """A `Worker` that does all work when it is asked to."""

    def ask(
        self,
        key: Hashable,  # noqa: ARG002
        make: Callable[[], Steps[None]],
        *,
        rests: bool = True,  # noqa: ARG002
    ) -> None:
        """Do it now."""
        finish(make())
