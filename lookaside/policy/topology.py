"""Topology hints: endpoints for the node or the zone of the client that asks.

The rules are those of kube-proxy's ``CategorizeEndpoints`` (``pkg/proxy/topology.go``): hints count
only where every endpoint has them, and only where one of them is for the client; node before zone.
"""

from collections.abc import Sequence
from itertools import chain

from msgspec import Struct

from lookaside.model import Endpoint, Hints


class Place(Struct, frozen=True, gc=False):
    """Where a client runs, as far as it matters. "" is unknown, or of no matter."""

    zone: str = ""
    node: str = ""


ANYWHERE = Place()


class Reach(Struct, frozen=True):
    """For which places a list has endpoints of their own.

    Attributes:
        nodes: The nodes that hints name; none where an endpoint names none.
        zones: The zones, likewise.
    """

    nodes: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()


def reach(hints: Sequence[Hints]) -> Reach:
    """Return which places the hints of a list reach.

    Args:
        hints: One for each endpoint; none where the list has no use for hints.
    """
    return Reach(_named([hint.nodes for hint in hints]), _named([hint.zones for hint in hints]))


def relevant(reach: Reach, place: Place) -> Place:
    """Return what of a client's place decides over its list.

    Args:
        reach: For which places the list has endpoints of their own.
        place: Where the client runs.

    Returns:
        The node alone, the zone alone, or `ANYWHERE`: clients with the same get the same list.
    """
    if place.node and place.node in reach.nodes:
        return Place(node=place.node)
    if place.zone and place.zone in reach.zones:
        return Place(zone=place.zone)
    return ANYWHERE


def select(
    endpoints: tuple[Endpoint, ...], hints: Sequence[Hints], place: Place
) -> tuple[Endpoint, ...]:
    """Return the endpoints that are meant for a place.

    Args:
        endpoints: All of them.
        hints: One for each, in their order.
        place: What `relevant` returned.
    """
    if place == ANYWHERE:
        return endpoints
    return tuple(
        endpoint
        for endpoint, hint in zip(endpoints, hints, strict=True)
        if (place.node in hint.nodes if place.node else place.zone in hint.zones)
    )


def _named(hinted: Sequence[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(chain.from_iterable(hinted)) if all(hinted) else frozenset()
