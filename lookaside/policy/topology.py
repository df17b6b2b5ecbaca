"""Selects endpoints by a client's place: traffic policy and topology hints.

The rules are those of kube-proxy's ``CategorizeEndpoints`` (``pkg/proxy/topology.go``). Hints count
only where every endpoint has them, and only where one of them is for the client; node before zone.
Where the internal traffic policy is Local, a client gets the endpoints of its node alone, be it
none, and hints play no part. A client that doesn't name its node gets all then: kube-proxy always
knows its own.
"""

from collections.abc import Sequence
from itertools import chain

from msgspec import Struct

from lookaside.model import Endpoint, PortList


class Place(Struct, frozen=True, gc=False):
    """A client's place, as far as it matters. "": unknown, or irrelevant."""

    zone: str = ""
    node: str = ""


ANYWHERE = Place()

ELSEWHERE = Place(node="*")
"""A node without endpoints in a list that is selected by node; "*" is no node's name."""


class Reach(Struct, frozen=True, gc=False):
    """For which places a list has endpoints of their own.

    Attributes:
        nodes: The nodes that hints name; none where an endpoint names none.
        zones: The zones, likewise.
        local: Clients on other nodes get nothing.
    """

    nodes: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    local: bool = False


def reach(whole: PortList) -> Reach:
    """Return for which places a list has endpoints of their own."""
    if whole.own is not None:
        return Reach(frozenset(whole.own), local=True)
    hints = whole.hints
    return Reach(_named([hint.nodes for hint in hints]), _named([hint.zones for hint in hints]))


def joined(parts: Sequence[Reach]) -> Reach:
    """Return for which places a list has endpoints of their own, of what its parts have.

    Args:
        parts: That of each part of the list; no part is empty.
    """
    return Reach(
        _named([tuple(part.nodes) for part in parts]),
        _named([tuple(part.zones) for part in parts]),
        any(part.local for part in parts),
    )


def relevant(reach: Reach, place: Place) -> Place:
    """Return what of a client's place decides over its list.

    Args:
        reach: For which places the list has endpoints of their own.
        place: Where the client runs.

    Returns:
        The node alone, the zone alone, `ELSEWHERE` or `ANYWHERE`: clients with the same get the
        same list.
    """
    if place.node and place.node in reach.nodes:
        return Place(node=place.node)
    if place.node and reach.local:
        return ELSEWHERE
    if place.zone and place.zone in reach.zones:
        return Place(zone=place.zone)
    return ANYWHERE


def select(whole: PortList, place: Place) -> tuple[Endpoint, ...]:
    """Return the endpoints that are for a place.

    Args:
        whole: What the list is made of.
        place: What `relevant` returned.
    """
    if place == ANYWHERE:
        return whole.endpoints
    if whole.own is not None:
        return whole.own.get(place.node, ())
    return tuple(
        endpoint
        for endpoint, hint in zip(whole.endpoints, whole.hints, strict=True)
        if (place.node in hint.nodes if place.node else place.zone in hint.zones)
    )


def _named(hinted: Sequence[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(chain.from_iterable(hinted)) if all(hinted) else frozenset()
