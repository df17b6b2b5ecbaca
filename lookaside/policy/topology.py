"""Topology hints: endpoints for the node or the zone of the client that asks.

The rules are those of kube-proxy's ``CategorizeEndpoints`` (``pkg/proxy/topology.go``): hints count
only where every endpoint has them, and only where one of them is for the client; node before zone.
"""

from collections.abc import Sequence

from msgspec import Struct

from lookaside.model import Endpoint, Hints


class Place(Struct, frozen=True, gc=False):
    """Where a client runs, as far as it matters. "" is unknown, or of no matter."""

    zone: str = ""
    node: str = ""


ANYWHERE = Place()


def relevant(hints: Sequence[Hints], place: Place) -> Place:
    """Return what of a client's place decides over its list.

    Args:
        hints: One for each endpoint, in their order; none where the list has no use for hints.
        place: Where the client runs.

    Returns:
        The node alone, the zone alone, or `ANYWHERE`: clients with the same get the same list.
    """
    if place.node and _usable([hint.nodes for hint in hints], place.node):
        return Place(node=place.node)
    if place.zone and _usable([hint.zones for hint in hints], place.zone):
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


def _usable(hinted: Sequence[tuple[str, ...]], own: str) -> bool:
    return all(hinted) and any(own in names for names in hinted)
