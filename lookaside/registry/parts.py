"""What one slice gives to the list of one port.

A change of a large service touches one slice or two. What the others give is kept, so that a merge
is little more than a concatenation, and unchanged endpoints are the very same records in both
lists.
"""

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from lookaside.model import Endpoint, Health, Hints, Locality
from lookaside.registry.inputs import HeldSlice, Inputs
from lookaside.registry.slices import SliceEndpoint

Parts = dict[str, dict[str, "Part"]]
"""By the slice's name and the port's name."""


class Member(Struct, frozen=True, gc=False):
    """An endpoint on its way into a list.

    Attributes:
        endpoint: The endpoint.
        hints: Whom it is meant for.
        uid: The UID of the object behind it, or "".
    """

    endpoint: Endpoint
    hints: Hints
    uid: str


class Part(Struct, frozen=True):
    """What a slice gives: each address once, by keys in whose order a list is.

    Attributes:
        ready: Its ready endpoints.
        draining: Those that are terminating and still serve.
    """

    ready: Mapping[str, Member]
    draining: Mapping[str, Member]


def part(inputs: Inputs, held: HeldSlice, port: str) -> Part:
    """Return what a slice gives to the list of a port."""
    number, _ = inputs.number(held.slice, port)
    ready: dict[str, Member] = {}
    draining: dict[str, Member] = {}
    for one in held.slice.endpoints if number else ():
        if one.ready:
            members, health = ready, Health.READY
        elif one.serving and one.terminating:
            members, health = draining, Health.TERMINATING
        else:
            continue
        key = f"{one.address}\0{number:05}"
        if key not in members:
            members[key] = _member(inputs, held, one, number, health)
    return Part(ready, draining)


def _member(
    inputs: Inputs, held: HeldSlice, one: SliceEndpoint, number: int, health: Health
) -> Member:
    locality = _locality(one.zone, one.node)
    endpoint = Endpoint(
        one.address,
        number,
        inputs.weigh(held, one, locality)[0],
        health,
        locality,
        inputs.metadata(one),
    )
    return Member(endpoint, one.hints, one.target_uid)


# A cluster has far fewer nodes than endpoints: those of one node share it.
@lru_cache(maxsize=16_384)
def _locality(zone: str, node: str) -> Locality:
    return Locality(zone, node)
