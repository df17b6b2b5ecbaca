"""From the EndpointSlices of a Service to its endpoints, by kube-proxy's rules.

The rules are those of ``pkg/proxy/topology.go`` and ``pkg/proxy/endpointslicecache.go`` in
kubernetes/kubernetes: each address once; of those ready endpoints, or, where there are none, those
that are terminating and still serve. Hints belong to ready endpoints alone, and count only where
every one has them. Where the Service's internalTrafficPolicy is Local, the rules are followed for
each node by itself, and hints play no part.
"""

from collections.abc import Collection, Sequence

from lookaside.model import Endpoint, Health, Hints, ServiceRecord
from lookaside.registry.inputs import Inputs
from lookaside.registry.parts import Member, Parts, part
from lookaside.registry.reasons import Reasons

Addresses = dict[str, Member]
"""Each address of one family once, by keys in whose order a list is."""


def merge(inputs: Inputs, known: Parts | None = None) -> ServiceRecord:
    """Return what the slices say of a service, the same for every order of the slices.

    A Pod that stands in two slices, as while the controller moves it, is one endpoint; so is a Pod
    with an address in each family.

    Args:
        inputs: What the endpoints are made of.
        known: What slices gave before, where all that it is made of is as it was then; what is
            missing is added.
    """
    if known is None:
        known = {}
    endpoints, hints, own = {}, {}, {}
    for port in inputs.service.ports:
        families, plain = _families(inputs, port.name, known)
        members = _listed(families, plain=plain)
        endpoints[port.name] = _endpoints(members)
        if inputs.service.local:
            own[port.name] = _by_node(families)
        elif meant := _useful(members):
            hints[port.name] = meant
    return ServiceRecord(
        key=inputs.service.key,
        ports=inputs.service.ports,
        endpoints=endpoints,
        external_name=inputs.service.external_name,
        hints=hints,
        own=own,
        service_config=inputs.service_config(),
        evidence=Reasons(inputs),
    )


def _families(inputs: Inputs, port: str, known: Parts) -> tuple[list[Addresses], bool]:
    """Return all endpoints of a port, fit or not, those of the preferred family first.

    Returns:
        The endpoints of each family, and whether all of them are ready.
    """
    families: dict[str, Addresses] = {}
    plain = True
    # What comes last counts, so the first by rank does.
    for held in reversed(inputs.ranked()):
        made = known.setdefault(held.slice.name, {})
        if port not in made:
            made[port] = part(inputs, held, port)
        made[port].put_over(families.setdefault(held.slice.address_type, {}))
        plain = plain and made[port].plain
    return list(reversed(families.values())), plain


def _listed(families: Sequence[Addresses], *, plain: bool = False) -> list[Member]:
    """Return who of some endpoints is listed, in order.

    Args:
        families: The endpoints of each family, the preferred one first.
        plain: Whether all of them are known to be ready.
    """
    if not plain:
        families = _fit(families)
    chosen: Addresses = {}
    for found in families:
        if not chosen:
            chosen = found
            continue
        uids = {member.uid for member in chosen.values()} - {""}
        chosen = {**{k: one for k, one in found.items() if one.uid not in uids}, **chosen}
    return [chosen[key] for key in sorted(chosen)]


def _fit(families: Sequence[Addresses]) -> list[Addresses]:
    """Return the ready endpoints; where there are none, those terminating that still serve."""
    for health in (Health.READY, Health.TERMINATING):
        fit = [
            {key: one for key, one in found.items() if one.endpoint.health is health}
            for found in families
        ]
        if any(fit):
            return fit
    return []


def _by_node(families: Sequence[Addresses]) -> dict[str, tuple[Endpoint, ...]]:
    """Return the list of each node that has one of its own."""
    nodes: dict[str, list[Addresses]] = {}
    for index, found in enumerate(families):
        for key, member in found.items():
            node = member.endpoint.locality.node
            if node:
                nodes.setdefault(node, [{} for _ in families])[index][key] = member
    lists = {node: _endpoints(_listed(found)) for node, found in nodes.items()}
    return {node: listed for node, listed in lists.items() if listed}


def _endpoints(members: Collection[Member]) -> tuple[Endpoint, ...]:
    return tuple([member.endpoint for member in members])


def _useful(members: Sequence[Member]) -> tuple[Hints, ...]:
    """Return the hints of a list; none where they count for no client."""
    if not members or members[0].endpoint.health is not Health.READY:
        return ()
    hints = tuple([member.hints for member in members])
    # Lists: a generator costs twice as much for each endpoint.
    if all([hint.zones for hint in hints]) or all([hint.nodes for hint in hints]):  # noqa: C419
        return hints
    return ()
