"""The contribution of one slice to the list of one port.

A change of a large service touches one slice or two. The contributions of the others are kept, and
unchanged endpoints are identical objects in both lists.
"""

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from lookaside.model import Endpoint, Health, Hints, Locality
from lookaside.registry.inputs import HeldSlice, Inputs
from lookaside.registry.slices import SliceEndpoint


class ContributedEndpoint(Struct, frozen=True, gc=False):
    """An endpoint on its way into a list.

    Attributes:
        endpoint: The endpoint. Its health is UNSPECIFIED where it is neither ready nor, while it
            terminates, serving: no list has it, but it may replace another one at an address.
        hints: The clients that it is meant for.
        uid: The UID of the object behind it, or "".
        terminating: It is shutting down.
    """

    endpoint: Endpoint
    hints: Hints
    uid: str
    terminating: bool

    @property
    def stays(self) -> bool:
        """Whether it is ready and not terminating."""
        return self.endpoint.health is Health.READY and not self.terminating

    def displaces(self, other: "ContributedEndpoint") -> bool:
        """Whether it has the address that another, of a slice before, had.

        As in kube-proxy's addEndpoints (pkg/proxy/endpointslicecache.go), an endpoint that isn't
        terminating has an address before those that are. Among several in different slices
        kube-proxy's result is undefined: here a ready one has it, and else the one put last; where
        all are terminating, the one put first.
        """
        return not self.terminating and (self.stays or not other.stays)


class SliceContribution(Struct, frozen=True, gc=False):
    """A slice's contribution: each address once, by keys in the order of the list.

    Attributes:
        family: The slice's address type.
        members: Its endpoints.
        plain: All of them are ready, and none terminates.
    """

    family: str
    members: Mapping[str, ContributedEndpoint]
    plain: bool

    def put_over(self, found: dict[str, ContributedEndpoint]) -> None:
        """Put its endpoints among those of the slices before it."""
        if self.plain or not found:
            found.update(self.members)
            return
        for key, member in self.members.items():
            other = found.get(key)
            if other is None or member.displaces(other):
                found[key] = member


def contribution(
    inputs: Inputs, held: HeldSlice, port: str, before: SliceContribution | None = None
) -> SliceContribution:
    """Return what a slice gives to the list of a port.

    Args:
        inputs: What the endpoints are made of.
        held: The slice.
        port: The port's name.
        before: Its earlier contribution: unchanged endpoints keep their identity.
    """
    number, _ = inputs.number(held.slice, port)
    known: Mapping[str, ContributedEndpoint] = before.members if before is not None else {}
    members: dict[str, ContributedEndpoint] = {}
    plain = True
    for one in held.slice.endpoints if number else ():
        key = f"{one.address}\0{number:05}"
        if one.terminating and key in members:
            continue
        member, earlier = _member(inputs, held, one, number), known.get(key)
        members[key] = earlier if earlier is not None and earlier == member else member
        plain = plain and one.ready and not one.terminating
    return SliceContribution(held.slice.address_type, members, plain)


def _member(
    inputs: Inputs, held: HeldSlice, one: SliceEndpoint, number: int
) -> ContributedEndpoint:
    locality = _locality(one.zone, one.node)
    endpoint = Endpoint(
        one.address,
        number,
        inputs.weigh(held, one, locality)[0],
        health_of(one),
        locality,
        inputs.metadata(one),
    )
    return ContributedEndpoint(endpoint, one.hints, one.target_uid, one.terminating)


def health_of(one: SliceEndpoint) -> Health:
    """Return with which health an endpoint is listed, if it is; UNSPECIFIED if it never is."""
    if one.ready:
        return Health.READY
    return Health.TERMINATING if one.serving and one.terminating else Health.UNSPECIFIED


# A cluster has far fewer nodes than endpoints: those of one node share it.
@lru_cache(maxsize=16_384)
def _locality(zone: str, node: str) -> Locality:
    return Locality(zone, node)
