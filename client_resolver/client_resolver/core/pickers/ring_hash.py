"""`ring_hash`: an RPC goes to the backend whose point on a ring follows its key (gRFC A42)."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from typing import ClassVar, Generic, TypeVar

from xxhash import xxh64_intdigest

from client_resolver.core.building import SMALL, STEP, Steps, finished, in_order
from client_resolver.core.fields import text, whole
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.keys import backend_key, hash_header, layout

__all__ = ["RingHash", "RingPicker"]

C = TypeVar("C", bound=Candidate)

_MOST = 8 * 1024 * 1024
"""The largest ring that gRFC A42 allows to ask for."""

_HASH = 64
"""Number of bits in a hash."""

_RANK = 32
_RANKS = 2**_RANK - 1
"""While a ring is sorted, a point is one number: its hash, and below it its backend's place."""


class RingPicker(Generic[C]):
    """A ring of points; each point belongs to a backend.

    Each point that is added or removed with a change of backends moves only the keys of its own
    arc: a key goes elsewhere only if its point has gone or a new point lies before it.

    Attributes:
        hashes: Where the points are, in order.
        layout: What the ring depends on.
    """

    concurrent: ClassVar[bool] = True

    __slots__ = ("_backends", "_owners", "hashes", "layout")

    def __init__(
        self,
        backends: Sequence[C],
        layout: tuple[tuple[object, ...], ...],
        hashes: Sequence[int],
        owners: Sequence[int],
    ) -> None:
        self._backends = tuple(backends)
        self.layout = layout
        self.hashes = hashes
        self._owners = owners

    @property
    def owners(self) -> list[C]:
        """Whose the points are, in their order."""
        return [self._backends[place] for place in self._owners]

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:
        """See `Picker.pick`. Instead of a backend that was tried, the next on the ring is taken."""
        owners, backends = self._owners, self._backends
        start = bisect_left(self.hashes, key)
        if start == len(owners):
            start = 0
        if not tried:
            return backends[owners[start]]
        # Whether there is another is asked first: a ring may be long, and all of it tried.
        rest = untried(backends, tried)
        if rest is not backends:
            for index in range(start, start + len(owners)):
                owner = backends[owners[index % len(owners)]]
                if owner not in tried:
                    return owner
        # Left are backends without a point, if any.
        return backends[owners[start]] if rest is backends else rest[start % len(rest)]

    def __repr__(self) -> str:
        return f"<RingPicker of {len(self._backends)} backends, {len(self.hashes)} points>"


def _ring(
    backends: Sequence[C],
    layout: tuple[tuple[object, ...], ...],
    keys: Sequence[str],
    weights: Sequence[int],
    limits: tuple[int, int],
) -> Steps[C]:
    """Lay out the points of each backend, and sort them."""
    # By key among points that coincide, so that all clients agree whatever order their list has.
    order = yield from in_order(keys)
    counts: list[int] = []
    for count in _counts(weights, *limits):
        counts.append(count)
        if not len(counts) % STEP:
            yield
    # Hashes are spread evenly, so each drawer, which is an arc of the ring, holds some 500 to 1,000
    # points: it is sorted within a step, which all of them together are not.
    shift = _HASH - (sum(counts) // STEP).bit_length()
    drawers: dict[int, list[int]] = {}
    worked = 0
    for rank, index in enumerate(order):
        key = keys[index]
        for number in range(counts[index]):
            point = xxh64_intdigest(f"{key}_{number}".encode())
            drawers.setdefault(point >> shift, []).append(point << _RANK | rank)
            worked += 1
            if not worked % STEP:
                yield
        # It counts as well where it has no point: there may be many such.
        worked += 1
        if not worked % STEP:
            yield
    hashes, owners = array("Q"), array("L")
    for arc in range(1 << _HASH - shift):
        drawer = drawers.pop(arc, [])
        drawer.sort()
        hashes.extend(point >> _RANK for point in drawer)
        owners.extend(order[point & _RANKS] for point in drawer)
        yield
    return RingPicker(backends, layout, hashes, owners)


def _counts(weights: Sequence[int], low: int, high: int) -> Iterator[int]:
    """Say how many points each backend has, as gRFC A42 does: the lightest a whole number."""
    total = sum(weights)
    lightest = min(weights) / total
    scale = min(ceil(lightest * low) / lightest, float(high))
    laid, due = 0, 0.0
    for weight in weights:
        due += scale * weight / total
        count = max(0, ceil(due - laid))
        laid += count
        yield count


@dataclass(frozen=True)
class RingHash(BasePolicy):
    """The policy `ring_hash`.

    Attributes:
        min_ring_size: How many points the ring has at least.
        max_ring_size: How many it has at most. With more backends than that, some have none.
        endpoint_hash_key: The name of the endpoint metadata that backends are hashed by, so that
            one that comes back under another address keeps its keys. Empty: by address.
        request_hash_header: See `Policy.request_hash_header`.
    """

    name: ClassVar[str] = "ring_hash"
    keyed: ClassVar[bool] = True
    min_ring_size: int = 1024
    max_ring_size: int = 4096
    endpoint_hash_key: str = ""
    request_hash_header: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "RingHash":
        """Make the policy from its config.

        `minRingSize`, `maxRingSize`, `requestHashHeader` and `endpointHashKey`.

        Raises:
            ValueError: A field can't be used.
        """
        low = whole(config, "minRingSize", 1024, low=1, high=_MOST)
        high = whole(config, "maxRingSize", max(4096, low), low=1, high=_MOST)
        if low > high:
            raise ValueError(f"minRingSize is {low}, more than maxRingSize, {high}")
        return cls(low, high, text(config, "endpointHashKey", ""), hash_header(config))

    def capped(self, most: int) -> "RingHash":
        """Return the policy with rings of at most `most` points (gRFC A42: `ring_size_cap`)."""
        low, high = min(self.min_ring_size, most), min(self.max_ring_size, most)
        return replace(self, min_ring_size=low, max_ring_size=high)

    def build(
        self,
        backends: Sequence[C],
        rng: Random,  # noqa: ARG002
        now: Callable[[], float],  # noqa: ARG002
        before: Picker[C] | None,
    ) -> Picker[C]:
        """See `Policy.build`. Where nothing has changed, the ring is kept."""
        return finished(self.build_in_steps(backends, before))

    def build_in_steps(
        self, backends: Sequence[C], before: Picker[C] | None
    ) -> Picker[C] | Steps[C]:
        """See `Staged.build_in_steps`."""
        keys = [backend_key(backend, self.endpoint_hash_key) for backend in backends]
        wanted = layout(backends, keys, self.min_ring_size, self.max_ring_size)
        if isinstance(before, RingPicker) and before.layout == wanted:
            return before
        weights = [backend.weight for backend in backends]
        limits = self.min_ring_size, self.max_ring_size
        steps = _ring(tuple(backends), wanted, keys, weights, limits)
        small = len(backends) <= SMALL and sum(_counts(weights, *limits)) <= SMALL
        return finished(steps) if small else steps
