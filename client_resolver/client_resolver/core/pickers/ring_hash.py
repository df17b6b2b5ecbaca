"""`ring_hash`: an RPC goes to the backend whose point on a ring follows its key (gRFC A42)."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from typing import ClassVar, Generic, TypeVar

from xxhash import xxh64_intdigest

from client_resolver.core.fields import text, whole
from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers.keys import backend_key, hash_header, layout

__all__ = ["RingHash", "RingPicker"]

C = TypeVar("C", bound=Candidate)

_MOST = 8 * 1024 * 1024
"""The largest ring that gRFC A42 allows to ask for."""


class RingPicker(Generic[C]):
    """A ring of points, each of which belongs to a backend.

    Of the points that come and go with a change of backends, each moves only the keys of its own
    arc: a key goes elsewhere only if its point has gone or a new point lies before it.

    Attributes:
        hashes: Where the points are, in order.
        owners: Whose they are.
        layout: What the ring depends on.
    """

    __slots__ = ("_backends", "hashes", "layout", "owners")

    def __init__(self, backends: Sequence[C], keys: Sequence[str], low: int, high: int) -> None:
        self._backends = tuple(backends)
        self.layout = layout(backends, keys, low, high)
        points = _points(keys, [backend.weight for backend in backends], low, high)
        self.hashes = [point for point, _ in points]
        self.owners = [self._backends[index] for _, index in points]

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:
        """See `Picker.pick`. Instead of a backend that was tried, the next on the ring is taken."""
        owners = self.owners
        start = bisect_left(self.hashes, key)
        if start == len(owners):
            start = 0
        if not tried:
            return owners[start]
        for index in range(start, start + len(owners)):
            owner = owners[index % len(owners)]
            if owner not in tried:
                return owner
        # Left are backends without a point, if any.
        rest = untried(self._backends, tried)
        return owners[start] if rest is self._backends else rest[start % len(rest)]

    def __repr__(self) -> str:
        return f"<RingPicker of {len(self._backends)} backends, {len(self.hashes)} points>"


def _points(
    keys: Sequence[str], weights: Sequence[int], low: int, high: int
) -> list[tuple[int, int]]:
    """Lay out the ring as gRFC A42 says: the lightest backend has a whole number of points."""
    total = sum(weights)
    lightest = min(weights) / total
    scale = min(ceil(lightest * low) / lightest, float(high))
    points = []
    laid, due = 0, 0.0
    for index, (key, weight) in enumerate(zip(keys, weights, strict=True)):
        due += scale * weight / total
        number = 0
        while laid < due:
            points.append((xxh64_intdigest(f"{key}_{number}".encode()), index))
            number += 1
            laid += 1
    # By key among points that coincide, so that all clients agree whatever order their list has.
    points.sort(key=lambda point: (point[0], keys[point[1]]))
    return points


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
        """Return the policy with rings of at most so many points (gRFC A42: `ring_size_cap`)."""
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
        keys = [backend_key(backend, self.endpoint_hash_key) for backend in backends]
        wanted = layout(backends, keys, self.min_ring_size, self.max_ring_size)
        if isinstance(before, RingPicker) and before.layout == wanted:
            return before
        return RingPicker(backends, keys, self.min_ring_size, self.max_ring_size)
