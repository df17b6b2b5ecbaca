"""Subsets: each client is given some of many endpoints, the same ones each time.

Rendezvous hashing (Thaler and Ravishankar, 1998), as in gRFC A68: each client ranks the endpoints
by a hash of both names and takes the first. An endpoint that comes or goes changes one place in the
subsets that it enters or leaves, and no other; over many clients every endpoint is chosen equally
often.
"""

import bisect
from collections.abc import Iterable

import xxhash

from lookaside.model import Endpoint

# The factor of spare endpoints that are ranked: one that leaves is replaced without ranking all.
_SPARE = 2


class Ranking:
    """The first of a client's ranking, kept from one list to the next.

    Only endpoints that come are hashed. All are ranked again once too many have left for the
    rest to be sure of the subset.

    Args:
        size: How many endpoints the client wants.
        client: The client's id.
    """

    def __init__(self, size: int, client: str) -> None:
        self._size = size
        self._seed = xxhash.xxh64_intdigest(client.encode())
        self._first: list[tuple[int, str]] = []
        self._endpoints: dict[str, Endpoint] = {}
        # All whose rank is up to this one are in `_first`; None: all are.
        self._limit: tuple[int, str] | None = (-1, "")

    def begin(self) -> None:
        """Forget all, for a list to be added from its beginning."""
        self._first, self._endpoints, self._limit = [], {}, None

    def add(self, endpoints: Iterable[Endpoint]) -> None:
        """Rank endpoints that are new, or have changed. Those of weight 0 take no place."""
        for endpoint in endpoints:
            target = endpoint.target
            rank = (xxhash.xxh64_intdigest(target.encode(), self._seed), target)
            known = target in self._endpoints
            if not endpoint.weight:
                if known:
                    self._drop(rank)
            elif known:
                self._endpoints[target] = endpoint
            elif self._limit is None or rank <= self._limit:
                bisect.insort(self._first, rank)
                self._endpoints[target] = endpoint
        keep = self._size * _SPARE
        if len(self._first) > keep:
            for rank in self._first[keep:]:
                del self._endpoints[rank[1]]
            del self._first[keep:]
            self._limit = self._first[-1]

    def remove(self, targets: Iterable[str]) -> None:
        """Take out endpoints that have gone."""
        for target in targets:
            if target in self._endpoints:
                self._drop((xxhash.xxh64_intdigest(target.encode(), self._seed), target))

    @property
    def whole(self) -> bool:
        """Whether the first are known; if not, all must be added from the beginning."""
        return self._limit is None or len(self._first) > self._size

    def chosen(self) -> tuple[Endpoint, ...]:
        """Return the client's endpoints, in their order; none where it is to have all."""
        if len(self._first) <= self._size:
            return ()
        return tuple(sorted(self._endpoints[target] for _, target in self._first[: self._size]))

    def _drop(self, rank: tuple[int, str]) -> None:
        del self._endpoints[rank[1]]
        del self._first[bisect.bisect_left(self._first, rank)]


def subset(endpoints: tuple[Endpoint, ...], size: int, client: str) -> tuple[Endpoint, ...]:
    """Return a client's endpoints, in their order.

    Endpoints of weight 0 take no place in the subset: they get no requests.

    Args:
        endpoints: All of them.
        size: How many the client wants; 0 for all.
        client: The client's id.
    """
    if not 0 < size < len(endpoints):
        return endpoints
    ranking = Ranking(size, client)
    ranking.begin()
    ranking.add(endpoints)
    return ranking.chosen() or endpoints
