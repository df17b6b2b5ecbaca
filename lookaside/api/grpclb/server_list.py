"""Snapshots in the wire form of grpclb: weights as numbers of entries, spread evenly. Pure."""

from collections.abc import Sequence
from ipaddress import ip_address
from math import gcd

from lookaside._pb import grpclb_pb2 as pb
from lookaside.logging import get_logger
from lookaside.model import Endpoint, ServiceName, Snapshot
from lookaside.registry.steps import CHUNK, Steps, chunks

ENTRIES = 1_000
"""Entries that a list may have where its weights differ, whatever its number of endpoints."""

ENTRIES_PER_ENDPOINT = 10
"""Entries per endpoint that it may have, on average, where that is more."""

_log = get_logger("api.grpclb")


def repetitions(weights: Sequence[int], most: int) -> list[int]:
    """Return how many entries each weight gets.

    They are the weights in lowest terms, so that every share is exact, unless those come to more
    than `most`. Then they are rounded to about `most`: a share is off by at most half an entry,
    but every weight above 0 has one entry at least.

    Args:
        weights: Shares relative to each other, each 0 or more; 0 gets none.
        most: The number of entries above which they are rounded.
    """
    divisor = gcd(*weights) or 1
    total = sum(weights) // divisor
    if total <= most:
        return [weight // divisor for weight in weights]
    whole = sum(weights)
    return [max(1, round(weight * most / whole)) if weight else 0 for weight in weights]


def spreading(counts: Sequence[int]) -> Steps[list[int]]:
    """Return each index as often as its count says, the entries of each as far apart as can be.

    The k-th of n entries of an index has the place (k + 1/2) / n of the list's length.
    """
    total = sum(counts)
    if total == len(counts) - counts.count(0):
        return [index for index, count in enumerate(counts) if count]
    # Sorted in parts, since a list of a hundred thousand entries takes a while.
    parts: list[list[tuple[float, int]]] = [[] for _ in range(total // CHUNK + 1)]
    done = 0
    for index, count in enumerate(counts):
        for entry in range(count):
            place = (entry + 0.5) / count
            parts[int(place * len(parts))].append((place, index))
        done += count
        if done >= CHUNK:
            done = 0
            yield 0
    found: list[int] = []
    for part in parts:
        part.sort()
        found += (index for _, index in part)
        yield 0
    return found


class ServerListForm:
    """Encodes snapshots as LoadBalanceResponses. A `lookaside.registry.published.Form`.

    Of each service whose list has host names, which an entry can't carry, it warns once.
    """

    def __init__(self) -> None:
        self._warned: set[ServiceName] = set()

    def __call__(self, snapshot: Snapshot) -> Steps[bytes]:
        """Encode a whole list; equal snapshots give equal bytes."""
        servers: list[pb.Server | None] = []
        for chunk in chunks(snapshot.endpoints):
            servers += map(_server, chunk)
            yield 0
        self._warn(snapshot, servers.count(None))
        weights = [
            endpoint.weight if server else 0
            for endpoint, server in zip(snapshot.endpoints, servers, strict=True)
        ]
        most = max(ENTRIES, ENTRIES_PER_ENDPOINT * len(weights))
        order = yield from spreading(repetitions(weights, most))
        # That there is a list, if of nothing.
        parts = [_encoded(())]
        for indexes in chunks(order):
            entries = (servers[index] for index in indexes)
            parts.append(_encoded([entry for entry in entries if entry is not None]))
            yield 0
        return b"".join(parts)

    def _warn(self, snapshot: Snapshot, names: int) -> None:
        if names and snapshot.service not in self._warned:
            self._warned.add(snapshot.service)
            _log.warning(
                "grpclb carries IP addresses alone: endpoints with host names are left out",
                service=str(snapshot.service),
                left_out=names,
            )


def _server(endpoint: Endpoint) -> pb.Server | None:
    """Return the entry of an endpoint; None for a host name."""
    try:
        packed = ip_address(endpoint.address).packed
    except ValueError:
        return None
    # A client that gets an entry without a token logs it, for every entry of every list.
    return pb.Server(ip_address=packed, port=endpoint.port, load_balance_token=endpoint.target)


def _encoded(servers: Sequence[pb.Server]) -> bytes:
    """Encode a part of a list: messages one after the other merge."""
    return pb.LoadBalanceResponse(server_list=pb.ServerList(servers=servers)).SerializeToString()
