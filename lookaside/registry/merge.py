"""From the EndpointSlices of a Service to its endpoints, by kube-proxy's rules.

The rules are those of ``pkg/proxy/topology.go`` and ``pkg/proxy/endpointslicecache.go`` in
kubernetes/kubernetes: ready endpoints, or, where there are none, those that are terminating and
still serve. Hints belong to ready endpoints alone, and count only where every one has them.
"""

from collections.abc import Mapping, Sequence

from lookaside.model import Hints, ServiceRecord
from lookaside.registry.inputs import Inputs
from lookaside.registry.parts import Member, Part, Parts, part
from lookaside.registry.reasons import Reasons


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
    endpoints = {}
    hints = {}
    for port in inputs.service.ports:
        members, hinted = _members(inputs, port.name, known)
        endpoints[port.name] = tuple([member.endpoint for member in members])
        if hinted:
            meant = tuple([member.hints for member in members])
            if _useful(meant):
                hints[port.name] = meant
    return ServiceRecord(
        key=inputs.service.key,
        ports=inputs.service.ports,
        endpoints=endpoints,
        external_name=inputs.service.external_name,
        hints=hints,
        service_config=inputs.policy.service_config.value or "",
        evidence=Reasons(inputs),
    )


def _members(inputs: Inputs, port: str, known: Parts) -> tuple[list[Member], bool]:
    """Return who is in the list of a port, in order, and whether hints may count."""
    families: dict[str, list[Part]] = {}
    for held in inputs.ranked():
        made = known.setdefault(held.slice.name, {})
        if port not in made:
            made[port] = part(inputs, held, port)
        families.setdefault(held.slice.address_type, []).append(made[port])
    ready = any(one.ready for parts in families.values() for one in parts)
    chosen: dict[str, Member] = {}
    for parts in families.values():
        found = _union([one.ready if ready else one.draining for one in parts])
        if chosen and found:
            uids = {member.uid for member in chosen.values()} - {""}
            found = {key: member for key, member in found.items() if member.uid not in uids}
        chosen = found | chosen
    return [chosen[key] for key in sorted(chosen)], ready


def _union(ranked: Sequence[Mapping[str, Member]]) -> dict[str, Member]:
    """Return all members; of those with the same key, the first."""
    found: dict[str, Member] = {}
    for members in reversed(ranked):
        found.update(members)
    return found


def _useful(hints: Sequence[Hints]) -> bool:
    return bool(hints) and (all(one.zones for one in hints) or all(one.nodes for one in hints))
