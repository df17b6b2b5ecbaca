"""Explains a list for one client."""

import msgspec

from lookaside.errors import quoted
from lookaside.model import EndpointExplanation, Explanation, PortList, ServiceName, ServiceRecord
from lookaside.policy.topology import Place, reach
from lookaside.policy.view import View
from lookaside.registry.reasons import NO_REQUESTS

EVERY_NODE = (
    "the Service's internalTrafficPolicy is Local, and the client names no node: it gets the "
    "endpoints of all nodes"
)


def explain(name: ServiceName, record: ServiceRecord, view: View) -> Explanation:
    """Return what became of each endpoint of a port that `resolve_port` has named.

    Args:
        name: The service and the port's own name.
        record: What its source knows of the service.
        view: Who asks.
    """
    whole = record.port_list(name.port)
    narrow = view.narrowed(whole)
    local = whole.own is not None
    # Only the client names a node that has no endpoint in the list.
    told = _told(name, record, view.place.node if local else "")
    here = View(narrow.place).of(whole)
    near = {(one.address, one.port) for one in here}
    mine = {(one.address, one.port) for one in narrow.of(whole)}
    meant = {
        (one.address, one.port): hint
        for one, hint in zip(whole.endpoints, whole.hints, strict=False)
    }

    def judged(endpoint: EndpointExplanation) -> EndpointExplanation:
        target = (endpoint.address, endpoint.port)
        if not endpoint.listed or target in mine:
            return endpoint
        reason = f"not in the subset of {view.subset} for client {quoted(view.client)}"
        if target not in near:
            hint = meant[target]
            node = bool(narrow.place.node)
            reason = (
                f"meant for {'node' if node else 'zone'} "
                f"{', '.join(hint.nodes if node else hint.zones)}; the client is in "
                f"{narrow.place.node or narrow.place.zone}"
            )
        return msgspec.structs.replace(endpoint, listed=False, reason=reason)

    notes = told.notes + _unused_hints(whole, narrow.place, view.place)
    if local and not view.place.node:
        notes += (EVERY_NODE,)
    return Explanation(tuple(map(judged, told.endpoints)), notes)


def _unused_hints(whole: PortList, used: Place, place: Place) -> tuple[str, ...]:
    """Say which hints, that count for other clients, a client's list is made without.

    Args:
        whole: What the list is made of.
        used: The part of the client's place that selects the list.
        place: Where the client runs.
    """
    meant, notes = reach(whole), []
    if whole.own is not None or used.node:
        return ()
    for kind, own, hinted in (
        ("node", place.node, meant.nodes),
        ("zone", place.zone, meant.zones),
    ):
        if not hinted or (kind == "zone" and used.zone):
            continue
        because = f"none is for {kind} {quoted(own)}" if own else f"the client names no {kind}"
        notes.append(f"hints for {kind}s are not used for this client: {because}")
    return tuple(notes)


def _told(name: ServiceName, record: ServiceRecord, node: str) -> Explanation:
    if record.explainer is not None:
        return record.explainer.explain(name.port, node)
    return Explanation(
        tuple(
            EndpointExplanation(
                address=endpoint.address,
                port=endpoint.port,
                slice="",
                listed=True,
                reason=f"given by the source{'' if endpoint.weight else NO_REQUESTS}",
                weight=endpoint.weight,
                weight_origin="the source",
                locality=endpoint.locality,
            )
            for endpoint in record.endpoints.get(name.port, ())
        ),
        () if record.endpoints.get(name.port) else ("the source gives it no endpoints",),
    )
