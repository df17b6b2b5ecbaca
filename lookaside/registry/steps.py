"""Work in steps, so that its runner can do other things in between.

A large cluster's lists have a hundred thousand endpoints, and ten thousand watch one of them. Here
is no loop to give way to: what takes long is a generator, and the side that does I/O runs it.
"""

from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
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
