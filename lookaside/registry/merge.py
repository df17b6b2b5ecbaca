"""From the EndpointSlices of a Service to its endpoints, by kube-proxy's rules.

The rules are those of ``pkg/proxy/topology.go`` and ``pkg/proxy/endpointslicecache.go`` in
kubernetes/kubernetes: each address once; of those ready endpoints, or, where there are none, those
that are terminating and still serve. Hints belong to ready endpoints alone, and count only where
every one has them. Where the Service's internalTrafficPolicy is Local, the rules are followed for
each node by itself, and hints play no part.
"""

from collections.abc import Mapping, Sequence

from lookaside.model import Endpoint, ServiceRecord
from lookaside.registry.contributions import ContributedEndpoint, SliceContribution, contribution
from lookaside.registry.inputs import Inputs
from lookaside.registry.listing import Addresses, Listing, choosing, gathering, listing
from lookaside.registry.reasons import Reasons
from lookaside.registry.steps import Steps, finish, portions


class Memory:
    """The intermediate results of a large service, kept between merges.

    Attributes:
        listings: The list of each port, by the port's name.
        touched: The slices that have changed since they were made, or whose Pods have.
    """

    __slots__ = ("listings", "touched")

    def __init__(self) -> None:
        self.listings: dict[str, Listing] = {}
        self.touched: set[str] = set()


def merge(inputs: Inputs) -> ServiceRecord:
    """Return what the slices say of a service, the same for every order of the slices.

    A Pod in two slices, as while the controller moves it, is one endpoint; so is a Pod
    with an address in each family.
    """
    return finish(merging(inputs))


def merging(inputs: Inputs, memory: Memory | None = None) -> Steps[ServiceRecord]:
    """Return what `merge` does, in steps.

    Args:
        inputs: What the endpoints are made of.
        memory: What was kept of the merge before, where the Service and all slices that aren't
            touched are as they were then; it is brought up to date. What is touched meanwhile
            counts for the next merge.
    """
    memory = memory or Memory()
    touched, memory.touched = memory.touched, set()
    listings: dict[str, Listing] = {}
    own = {}
    try:
        for port in inputs.service.ports:
            before = memory.listings.get(port.name)
            parts = yield from _parts(inputs, port.name, before, touched)
            listings[port.name] = yield from listing(parts, before)
            if inputs.service.local:
                own[port.name] = yield from _by_node((yield from gathering(parts)))
        memory.listings = listings
    except BaseException:
        # The caller may abandon the generator.
        memory.touched |= touched
        raise
    hinted = {} if inputs.service.local else listings
    return ServiceRecord(
        key=inputs.service.key,
        ports=inputs.service.ports,
        endpoints={port: made.endpoints for port, made in listings.items()},
        external_name=inputs.service.external_name,
        hints={port: made.hints for port, made in hinted.items() if made.hints},
        own=own,
        service_config=inputs.service_config(),
        explainer=Reasons(inputs),
    )


def _parts(
    inputs: Inputs, port: str, before: Listing | None, touched: set[str]
) -> Steps[dict[str, SliceContribution]]:
    """Return what each slice gives to a port, the preferred ones last: those put last count."""
    known: Mapping[str, SliceContribution] = before.parts if before is not None else {}
    parts: dict[str, SliceContribution] = {}
    for held in reversed(inputs.ranked()):
        name = held.slice.name
        if name in known and name not in touched:
            parts[name] = known[name]
            continue
        parts[name] = contribution(inputs, held, port, known.get(name))
        yield 0
    return parts


def _by_node(families: Sequence[Addresses]) -> Steps[dict[str, tuple[Endpoint, ...]]]:
    """Return the list of each node that has one of its own."""
    nodes: dict[str, list[dict[str, ContributedEndpoint]]] = {}
    for index, found in enumerate(families):
        for some in portions(found.items()):
            for key, member in some:
                if node := member.endpoint.locality.node:
                    nodes.setdefault(node, [{} for _ in families])[index][key] = member
            yield 0
    lists: dict[str, tuple[Endpoint, ...]] = {}
    for node, families_of in nodes.items():
        members = yield from choosing(families_of)
        if members:
            lists[node] = tuple([members[key].endpoint for key in sorted(members)])
    return lists
