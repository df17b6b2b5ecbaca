"""Subsets: each client is given some of many endpoints, the same ones each time.

Rendezvous hashing (Thaler and Ravishankar, 1998), as in gRFC A68: each client ranks the endpoints
by a hash of both names and takes the first. An endpoint that comes or goes changes one place in the
subsets that it enters or leaves, and no other; over many clients every endpoint is chosen equally
often.
"""

import heapq

import xxhash

from lookaside.model import Endpoint


def subset(endpoints: tuple[Endpoint, ...], size: int, client: str) -> tuple[Endpoint, ...]:
    """Return a client's endpoints, in their order.

    Endpoints of weight 0 take no place in the subset: they get no requests.

    Args:
        endpoints: All of them.
        size: How many the client wants; 0 for all.
        client: The client's id.
    """
    weighted = tuple(endpoint for endpoint in endpoints if endpoint.weight)
    if not 0 < size < len(weighted):
        return endpoints
    seed = xxhash.xxh64_intdigest(client.encode())
    ranked = heapq.nsmallest(
        size,
        weighted,
        key=lambda endpoint: (
            xxhash.xxh64_intdigest(endpoint.target.encode(), seed),
            endpoint.target,
        ),
    )
    return tuple(sorted(ranked))
