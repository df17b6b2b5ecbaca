"""Draws backends at random, each as often as its weight says. `random` and its kin build on it."""

from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

from client_resolver.core.picker import Candidate, untried

__all__ = ["draw_untried", "equal_weights", "sampler"]

C = TypeVar("C", bound=Candidate)


def equal_weights(backends: Sequence[C]) -> bool:
    """Whether all backends weigh the same."""
    first = backends[0].weight
    return all(backend.weight == first for backend in backends)


def sampler(backends: Sequence[C], rng: Random) -> Callable[[], C]:
    """Return what draws one backend: O(1) with equal weights, else O(log n)."""
    items = tuple(backends)
    random = rng.random
    if equal_weights(items):
        count = len(items)
        return lambda: items[int(random() * count)]
    bounds = list(accumulate(backend.weight for backend in items))
    total = float(bounds[-1])
    last = len(items) - 1
    return lambda: items[bisect(bounds, random() * total, 0, last)]


def draw_untried(backends: Sequence[C], tried: Collection[object], rng: Random) -> C:
    """Draw by weight among the backends that are not in `tried`, or among all: O(n)."""
    rest = untried(backends, tried)
    return rng.choices(rest, [backend.weight for backend in rest])[0]
