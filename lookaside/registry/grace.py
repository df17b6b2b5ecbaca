"""Lists that are empty for a moment: their endpoints stay for a grace, unless reported as unfit.

Services and slices have several writers, whose writes are seen one by one. While a port is renamed
no slice has it; an endpoint that moves is in neither slice for a moment; a Service is at times
deleted and created again. A list that loses its last endpoint without a reported condition may be
one of these, so the endpoints that it had stay until it has been empty for longer.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from lookaside.model import Endpoint, Explainer, Explanation, ServiceRecord

ListName = tuple[str, str]
"""A port's name, and the node whose own list it is; "": the list of all."""

NOTE = (
    "its last endpoints are in no slice any more, and were not reported as unfit: they stay "
    "listed for the grace"
)


class Held(Struct, frozen=True, gc=False):
    """Explains a record that keeps lists of an earlier one. A `lookaside.model.Explainer`.

    Attributes:
        now: What tells of the lists that aren't kept.
        former: By the port's name, what tells of a list that is kept, and the port's name then.
    """

    now: Explainer | None
    former: Mapping[str, tuple[Explainer | None, str]]

    def explain(self, port: str, node: str = "") -> Explanation:
        """Tell why the list of a port is as it is."""
        explainer, name = self.former.get(port, (self.now, port))
        told = explainer.explain(name, node) if explainer is not None else Explanation(())
        return Explanation(
            told.endpoints, (*told.notes, NOTE) if port in self.former else told.notes
        )

    def known(self, port: str) -> Collection[tuple[str, int]]:
        """Return the address and port of each endpoint of a port that it explains."""
        return self.now.known(port) if self.now is not None else ()


def filled(record: ServiceRecord) -> set[ListName]:
    """Return the lists that have endpoints."""
    whole = {(port, "") for port, endpoints in record.endpoints.items() if endpoints}
    return whole | {(port, node) for port, nodes in record.own.items() for node in nodes}


def vanished(before: ServiceRecord, after: ServiceRecord) -> set[ListName]:
    """Return the lists that are empty and were not, and lack endpoints that nothing is said of."""
    if after.external_name:
        return set()
    found = set()
    for port in after.ports:
        was, now = before.port_list(_former(before, after, port.name)), after.port_list(port.name)
        emptied = {"": was.endpoints} if was.endpoints and not now.endpoints else {}
        if was.own is not None and now.own is not None:
            emptied |= {node: was.own[node] for node in was.own.keys() - now.own.keys()}
        known = _known(after, port.name) if emptied else ()
        found |= {(port.name, node) for node, own in emptied.items() if _unheard(own, known)}
    return found


def keep(before: ServiceRecord, after: ServiceRecord, lists: Collection[ListName]) -> ServiceRecord:
    """Return a record with some lists as they were, without endpoints reported as unfit.

    Args:
        before: The record whose lists are kept.
        after: The record in all else.
        lists: Which, of those that have `vanished`.
    """
    endpoints, hints = dict(after.endpoints), dict(after.hints)
    own = {port: dict(nodes) for port, nodes in after.own.items()}
    former = {}
    for port in {port for port, _ in lists}:
        name, known = _former(before, after, port), _known(after, port)
        was = before.port_list(name)
        former[port] = (before.explainer, name)
        if isinstance(before.explainer, Held):
            former[port] = before.explainer.former.get(name, former[port])
        if (port, "") in lists:
            endpoints[port] = _unheard(was.endpoints, known)
            meant = dict(zip(was.endpoints, was.hints, strict=False))
            if meant and port not in own:
                hints[port] = tuple([meant[one] for one in endpoints[port]])
        for node, listed in (was.own or {}).items():
            if (port, node) in lists:
                own[port][node] = _unheard(listed, known)
    explainer = Held(after.explainer, former)
    return replace(after, endpoints=endpoints, hints=hints, own=own, explainer=explainer)


def _former(before: ServiceRecord, after: ServiceRecord, port: str) -> str:
    """Return the name that a port had: the same, or, if it is new, that of its number.

    A Service of one port has the same port under whatever name and number.
    """
    if port in before.endpoints:
        return port
    if len(before.ports) == len(after.ports) == 1:
        return before.ports[0].name
    names = {one.name for one in after.ports}
    numbers = {one.number for one in after.ports if one.name == port}
    renamed = (one.name for one in before.ports if one.number in numbers and one.name not in names)
    return next(renamed, port)


def _known(record: ServiceRecord, port: str) -> Collection[tuple[str, int]]:
    return record.explainer.known(port) if record.explainer is not None else ()


def _unheard(
    endpoints: tuple[Endpoint, ...], known: Collection[tuple[str, int]]
) -> tuple[Endpoint, ...]:
    """Return the endpoints that no slice mentions."""
    return tuple([one for one in endpoints if (one.address, one.port) not in known])
