"""Pickers that take long to build: they are built in steps, while the one before serves.

No step takes more than a few milliseconds, so that an event loop may run one at a time, and none
needs a lock: all that may change is read before the first.
"""

from collections.abc import Callable, Generator, Sequence
from heapq import merge
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from client_resolver.core.picker import Candidate, Picker

__all__ = ["SMALL", "STEP", "Build", "Staged", "Steps", "finished", "in_order"]

B = TypeVar("B")
C = TypeVar("C", bound=Candidate)

Steps: TypeAlias = Generator[None, None, Picker[B]]
"""Builds a picker, which it returns, and yields between any two steps."""

SMALL = 1024
"""A table of up to this many entries is built at once, within a millisecond or so."""
STEP = 1000
"""Number of entries, backends or points per step: about a millisecond."""


class Build(Generic[B]):
    """A picker that is being built.

    Args:
        steps: Builds it.
        backends: Those that it will know.
        failed: Makes what stands for a picker that can't be built.

    Attributes:
        backends: Those that it will know.
        picker: The picker, once it is built. None: it isn't yet.
    """

    def __init__(
        self, steps: Steps[B], backends: Sequence[B], failed: Callable[[Exception], Picker[B]]
    ) -> None:
        self._steps = steps
        self._failed = failed
        self.backends = tuple(backends)
        self.picker: Picker[B] | None = None

    def step(self) -> bool:
        """Do one step more, for some milliseconds. Return whether that was the last one."""
        try:
            next(self._steps)
        except StopIteration as stop:
            self.picker = stop.value
        except Exception as error:  # noqa: BLE001 (the policy may be a user's)
            self.picker = self._failed(error)
        return self.picker is not None


@runtime_checkable
class Staged(Protocol):
    """A policy whose pickers may take long to build."""

    def build_in_steps(
        self, backends: Sequence[C], before: Picker[C] | None
    ) -> Picker[C] | Steps[C]:
        """Begin a picker.

        Args:
            backends: As for `Policy.build`. What of them may change is read before this returns.
            before: As for `Policy.build`.

        Returns:
            The picker, where it could be kept or is small; else the steps that build it.
        """


def finished(started: Picker[B] | Steps[B]) -> Picker[B]:
    """Return what `Staged.build_in_steps` has begun, with all steps done."""
    if not isinstance(started, Generator):
        return started
    while True:
        try:
            next(started)
        except StopIteration as stop:
            picker: Picker[B] = stop.value
            return picker


def in_order(keys: Sequence[str]) -> Generator[None, None, list[int]]:
    """Return the places of `keys` in the order of the keys. Yields between any two steps."""
    runs = []
    for start in range(0, len(keys), STEP):
        run = [(keys[place], place) for place in range(start, min(start + STEP, len(keys)))]
        run.sort()
        runs.append(run)
        yield
    order: list[int] = []
    for _, place in merge(*runs):
        order.append(place)
        if not len(order) % STEP:
            yield
    return order
