"""EndpointSlices that tests make themselves, as the API takes them."""

import itertools
from collections.abc import Iterable
from typing import Any, Final

from tests.cluster.api import Object
from tests.cluster.balancer import Balancer
from tests.cluster.objects import Namespace, Port

_MARKERS: Final = itertools.count(1)

GRPC: Final = Port()
"""The port of Services whose slices are made by hand; that of `body`."""


def endpoint(address: str, *, uid: str = "", pod: str = "", **fields: Any) -> Object:
    """Give an endpoint of a slice.

    Args:
        address: Its address.
        uid: The UID of the Pod behind it; "": there is none.
        pod: The Pod's name; "": the UID is its name too.
        fields: More fields, by their API names: conditions={"ready": False}, say.
    """
    target = {"kind": "Pod", "name": pod or uid, "uid": uid}
    return {"addresses": [address], **({"targetRef": target} if uid else {}), **fields}


def body(endpoints: Iterable[Object | str], **fields: Any) -> Object:
    """Give what a slice holds: endpoints, or addresses alone, at the port `GRPC`."""
    made = [endpoint(each) if isinstance(each, str) else each for each in endpoints]
    return {"endpoints": made, "ports": [{"name": GRPC.name, "port": GRPC.port}], **fields}


def at_port(*addresses: str) -> list[str]:
    """Give IPv4 addresses as a list has them, ordered."""
    return sorted(f"{address}:{GRPC.port}" for address in addresses)


def catch_up(balancer: Balancer, namespace: Namespace) -> None:
    """Wait until the service knows all Services and slices that were written before.

    It has each kind over one watch, in the order in which they were written: when it knows of new
    ones, it knows of those before. That shows of a list too that it does not change.
    """
    name = f"marker-{next(_MARKERS)}"
    namespace.service(name, selector={})
    namespace.slice(name, name, body(["198.51.100.1"]))
    balancer.wait_for(f"{name}.{namespace.name}", *at_port("198.51.100.1"))
