"""Client-side subsetting by rendezvous hashing (gRFC A68): each client uses a few of many backends.

Every client ranks the backends by a hash of its own seed and their address and takes the first
ones. Clients with different seeds spread evenly, and a backend that arrives or leaves moves one
place of a subset at most.
"""

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import TypeVar

import xxhash

__all__ = ["subset"]

T = TypeVar("T")


def subset(items: Iterable[T], size: int, seed: int, address: Callable[[T], str] = str) -> list[T]:
    """Choose the items that a client uses.

    Args:
        items: The backends, each address once.
        size: How many to choose. All, where there are no more.
        seed: The client's own number, drawn once and kept; its lowest 64 bits count.
        address: Gives an item's address, its name for the hash.

    Returns:
        Those chosen, in the order that they were given in.

    Raises:
        ValueError: The size is less than 1.
    """
    if size < 1:
        raise ValueError(f"subsetSize is {size}: at least 1 is allowed")
    given = list(items)
    if len(given) <= size:
        return given
    ranked = (
        (xxhash.xxh64_intdigest(name.encode(), seed % 2**64), name, place)
        for place, name in enumerate(map(address, given))
    )
    return [given[place] for place in sorted(place for _, _, place in nsmallest(size, ranked))]
