"""Changes between two lists, as lines for people. No I/O."""

from collections.abc import Iterator

from lookaside.cli.balancer.messages import Server, ServerList
from lookaside.cli.render.output import pairs

_HEADLINES = {
    "absent": "there is no such service yet",
    "empty": "exists and has no endpoints",
    "stale": "stale: the balancer lost its source, and this is the last list it knew",
}


def changes(
    before: ServerList | None, after: ServerList, *, note: str = "", wide: bool = False
) -> Iterator[str]:
    """Yield what is new in an answer.

    Args:
        before: The answer before; None for none.
        after: The answer.
        note: What more is to be said of what the list means now.
        wide: Whether all is said of an endpoint that came.
    """
    old = {server.address: server for server in before.servers} if before else {}
    new = {server.address: server for server in after.servers}
    if before is None or before.state != after.state:
        count = len(after.servers)
        headline = _HEADLINES.get(after.state, f"{count} endpoint{'' if count == 1 else 's'}")
        yield f"{headline}: {note}" if note else headline
    for address in old:
        if address not in new:
            yield f"- {address}"
    for address, server in new.items():
        if address not in old:
            yield f"+ {address}  {_facts(server, wide=wide)}"
        elif server != old[address]:
            yield f"~ {address}  {_differences(old[address], server)}"


def _facts(server: Server, *, wide: bool) -> str:
    facts = [f"weight {server.weight}"]
    if server.zone:
        facts.append(f"zone {server.zone}")
    if server.health not in ("ready", ""):
        facts.append(server.health)
    if wide and server.node:
        facts.append(f"node {server.node}")
    if wide and server.metadata:
        facts.append(f"metadata {pairs(server)}")
    return "  ".join(facts)


def _differences(old: Server, new: Server) -> str:
    compared = (
        ("weight", str(old.weight), str(new.weight)),
        ("health", old.health, new.health),
        ("zone", old.zone, new.zone),
        ("node", old.node, new.node),
        ("metadata", pairs(old), pairs(new)),
    )
    return "  ".join(
        f"{name} {before or '-'} -> {after or '-'}"
        for name, before, after in compared
        if before != after
    )
