"""`maglev`: a table in which every backend holds its share of entries, and an RPC's key finds one.

D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4.
Backends claim entries in turn, each in an order of its own; weights as in Envoy: in each round a
backend's claim grows by its weight over the largest one.
"""

from array import array
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from random import Random
from typing import ClassVar, Generic, TypeVar

from xxhash import xxh64_intdigest

from client_resolver.core.building import SMALL, STEP, Steps, finished, in_order
from client_resolver.core.fields import text, whole
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.keys import backend_key, hash_header, layout

__all__ = ["Maglev", "MaglevPicker"]

C = TypeVar("C", bound=Candidate)

_MOST = 5_000_011
"""The largest table that Envoy allows."""

_LOOKS = 10_000
"""Number of entries per step of building: about a millisecond."""

_STEPS = 1024
"""Maximum number of further entries that a pick checks after a tried backend."""


class MaglevPicker(Generic[C]):
    """A table of backends.

    Attributes:
        layout: What it depends on.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_size", "_table", "layout")

    def __init__(
        self,
        backends: Sequence[C],
        layout: tuple[tuple[object, ...], ...],
        table: Sequence[int],
    ) -> None:
        self._backends = tuple(backends)
        self._size = len(table)
        self.layout = layout
        self._table = table

    @property
    def table(self) -> list[C]:
        """The backend of each entry."""
        return [self._backends[place] for place in self._table]

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:
        """See `Picker.pick`. Instead of a backend that was tried, the next entry's is taken."""
        start = key % self._size
        backends = self._backends
        chosen = backends[self._table[start]]
        if not tried or chosen not in tried:
            return chosen
        for step in range(1, min(self._size, _STEPS)):
            other = backends[self._table[(start + step) % self._size]]
            if other not in tried:
                return other
        rest = untried(backends, tried)
        return chosen if rest is backends else rest[start % len(rest)]

    def __repr__(self) -> str:
        return f"<MaglevPicker of {len(self._backends)} backends, {self._size} entries>"


def _claims(keys: Sequence[str], size: int) -> Generator[None, None, tuple[list[int], list[int]]]:
    """Return which entry each backend claims first, and how far it goes on from a taken one."""
    entries: list[int] = []
    skips: list[int] = []
    for key in keys:
        entries.append(xxh64_intdigest(key.encode()) % size)
        skips.append(xxh64_intdigest(key.encode(), 1) % (size - 1) + 1)
        if not len(entries) % STEP:
            yield
    return entries, skips


def _blank(size: int) -> "Generator[None, None, array[int]]":
    """Return a table of entries that are free. One of 40 MB takes longer than a step may."""
    part = array("l", [-1]) * _LOOKS
    table = array("l")
    while len(table) < size:
        table.extend(part[: size - len(table)])
        yield
    return table


def _table(
    backends: Sequence[C],
    layout: tuple[tuple[object, ...], ...],
    keys: Sequence[str],
    weights: Sequence[int],
    size: int,
) -> Steps[C]:
    """Have the backends claim entries until there is none left."""
    # In the order of their keys, so that all clients agree whatever order their list has.
    order = yield from in_order(keys)
    entries, skips = yield from _claims([keys[index] for index in order], size)
    table = yield from _blank(size)
    largest = max(weights)
    due = [0] * len(order)
    left, looked = size, 0
    while left:
        for place, backend in enumerate(order):
            looked += 1
            due[place] += weights[backend]
            if due[place] >= largest:
                due[place] -= largest
                entry, skip = entries[place], skips[place]
                while table[entry] >= 0:
                    looked += 1
                    entry += skip
                    if entry >= size:
                        entry -= size
                    if looked >= _LOOKS:
                        looked = 0
                        yield
                table[entry] = backend
                entries[place] = entry
                left -= 1
                if not left:
                    break
            if looked >= _LOOKS:
                looked = 0
                yield
    return MaglevPicker(backends, layout, table)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


@dataclass(frozen=True)
class Maglev(BasePolicy):
    """The policy `maglev`.

    Attributes:
        table_size: How many entries the table has: a prime, and many times the backends.
        endpoint_hash_key: The name of the endpoint metadata that backends are hashed by, so that
            one that comes back under another address keeps its keys. Empty: by address.
        request_hash_header: See `Policy.request_hash_header`.
    """

    name: ClassVar[str] = "maglev"
    keyed: ClassVar[bool] = True
    table_size: int = 65537
    endpoint_hash_key: str = ""
    request_hash_header: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Maglev":
        """Make the policy from its config: `tableSize`, `requestHashHeader`, `endpointHashKey`.

        Raises:
            ValueError: A field can't be used.
        """
        size = whole(config, "tableSize", 65537, low=2, high=_MOST)
        if not _is_prime(size):
            raise ValueError(f"tableSize is {size}: a prime is wanted")
        return cls(size, text(config, "endpointHashKey", ""), hash_header(config))

    def capped(self, most: int) -> "Maglev":
        """Return the policy with a table of at most `most` entries: the largest prime, from 2."""
        if self.table_size <= most:
            return self
        return replace(self, table_size=next(n for n in range(most, 1, -1) if _is_prime(n)))

    def build(
        self,
        backends: Sequence[C],
        rng: Random,  # noqa: ARG002
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. Where nothing has changed, the table is kept."""
        return finished(self.build_in_steps(backends, before))

    def build_in_steps(
        self, backends: Sequence[C], before: Picker[C] | None
    ) -> Picker[C] | Steps[C]:
        """See `Staged.build_in_steps`."""
        keys = [backend_key(backend, self.endpoint_hash_key) for backend in backends]
        wanted = layout(backends, keys, self.table_size)
        if isinstance(before, MaglevPicker) and before.layout == wanted:
            return before
        weights = [backend.weight for backend in backends]
        steps = _table(tuple(backends), wanted, keys, weights, self.table_size)
        return finished(steps) if self.table_size <= SMALL else steps
