"""An explanation as one screen for people. No I/O."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lookaside.cli.balancer.messages import Explained, ExplainedEndpoint
from lookaside.cli.render.output import clean, table

SCREEN = 50

_FEW = 5
_DIGEST = 12
_STATES = {
    "stale": "stale: the balancer lost its source, and this is the last list it knew",
}


def screen(explained: Explained, *, wide: bool, aligned: bool, rows: int | None = SCREEN) -> str:
    """Return a heading and a table, what gets no requests first.

    Args:
        explained: What to show.
        wide: Whether the table has every column.
        aligned: Whether it is for people.
        rows: How many rows the table may have about; None for as many as there are. Of those with
            the same reason some are shown, and the rest is counted.
    """
    idle = [each for each in explained.endpoints if not each.gets_requests]
    idle.sort(key=lambda each: each.listed)
    busy = [each for each in explained.endpoints if each.gets_requests]
    shown = idle + busy
    if rows is not None and len(shown) > rows:
        few = _fold(idle, rows - min(len(busy), _FEW))
        shown = few + _fold(busy, rows - len(few))
    parts = ["\n".join(_heading(explained))]
    if shown:
        parts.append(_table(shown, wide=wide, aligned=aligned))
    if len(shown) < len(explained.endpoints):
        parts[-1] += f"\n{_rest(shown, explained.endpoints)}"
    return "\n\n".join(parts)


def _heading(explained: Explained) -> Iterator[str]:
    listed = sum(each.listed for each in explained.endpoints)
    total = len(explained.endpoints)
    count = f"{listed} of {total} endpoint{'' if total == 1 else 's'} listed"
    if not total:
        count = "no endpoints"
    version = f", version {explained.version}" if explained.version else ""
    yield f"Service   {clean(explained.service)}"
    yield f"State     {_STATES.get(explained.state, explained.state)}; {count}"
    yield f"Source    {clean(explained.source)}"
    yield f"Revision  {explained.digest[:_DIGEST]}{version}"
    for index, note in enumerate(explained.notes):
        yield f"{'Notes' if not index else '':<10}{_sentence(clean(note))}"


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}{'' if note.endswith('.') else '.'}"


def _table(endpoints: Sequence[ExplainedEndpoint], *, wide: bool, aligned: bool) -> str:
    head = ["ADDRESS", "LISTED", "WEIGHT", "REASON", "TARGET"]
    rows = [
        [each.address, "yes" if each.listed else "no", str(each.weight), each.reason, each.target]
        for each in endpoints
    ]
    if wide:
        head += ["ZONE", "NODE", "SLICE", "VERSION", "WEIGHT FROM"]
        for row, each in zip(rows, endpoints, strict=True):
            row += [each.zone, each.node, each.slice, each.version, each.weight_origin]
    return table(head, rows, aligned=aligned)


def _fold(endpoints: Sequence[ExplainedEndpoint], limit: int) -> list[ExplainedEndpoint]:
    """Return at most `limit` of them, spread evenly over the reasons, in their order."""
    seen = Counter[str]()
    ranks = []
    for each in endpoints:
        ranks.append(seen[each.reason])
        seen[each.reason] += 1
    chosen = sorted(range(len(endpoints)), key=ranks.__getitem__)[:limit]
    return [endpoints[index] for index in sorted(chosen)]


def _rest(shown: Sequence[ExplainedEndpoint], endpoints: Sequence[ExplainedEndpoint]) -> str:
    hidden = Counter(each.reason for each in endpoints)
    hidden.subtract(each.reason for each in shown)
    counts = [f"{count} {clean(reason)}" for reason, count in hidden.most_common() if count]
    if len(counts) > _FEW:
        counts[_FEW:] = [f"{len(counts) - _FEW} other reasons"]
    return f"and {hidden.total()} more: {'; '.join(counts)}. -o wide shows all."
