"""The list of one port, of what each slice gives: made whole, or from the list before.

A change of a large service touches one slice or two, and in them few addresses. Where that can't
change who else is listed, only those addresses are looked at, and the rest of the list is copied.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from lookaside.model import Endpoint, Health, Hints
from lookaside.registry.contributions import ContributedEndpoint, SliceContribution
from lookaside.registry.steps import Steps, chunks, portions, sorting

T = TypeVar("T")

Addresses = Mapping[str, ContributedEndpoint]
"""Each address of one family once, by keys in whose order a list is."""

_FEW = 16
_SHARE = 10
"""One in this many addresses may change; for more, rebuilding the whole list is cheaper."""


class Listing(Struct, frozen=True, gc=False):
    """The list of a port, with the data to derive the next one.

    Attributes:
        parts: What each slice gives, by its name, in the order in which one is put over another.
        keys: Of each endpoint, in ascending order.
        endpoints: The endpoints.
        hints: The clients that each is meant for; none where hints have no effect.
        health: That of all endpoints; None: there are none.
        unzoned: How many have no hint of zones.
        unnoded: How many have no hint of nodes.
    """

    parts: Mapping[str, SliceContribution]
    keys: Sequence[str] = ()
    endpoints: tuple[Endpoint, ...] = ()
    hints: tuple[Hints, ...] = ()
    health: Health | None = None
    unzoned: int = 0
    unnoded: int = 0

    @property
    def useful(self) -> bool:
        """Whether hints count for clients: for ready endpoints alone, and where all have some."""
        return self.health is Health.READY and not (self.unzoned and self.unnoded)


def listing(
    parts: Mapping[str, SliceContribution], before: Listing | None = None
) -> Steps[Listing]:
    """Return the list of a port.

    Args:
        parts: What each slice gives, by its name: what comes later is put over what came before.
        before: A list that was made of other parts of the same slices, if there is one.
    """
    if before is not None:
        changed = yield from _changing(before, parts)
        if changed is not None:
            return changed
    families = yield from gathering(parts)
    members = yield from choosing(families, plain=all(part.plain for part in parts.values()))
    keys = yield from sorting(members)
    found = yield from _taking(members, keys)
    endpoints = yield from _each([one.endpoint for one in some] for some in chunks(found))
    hints = yield from _each([one.hints for one in some] for some in chunks(found))
    unzoned, unnoded = yield from _unmeant(hints)
    health = endpoints[0].health if endpoints else None
    made = Listing(parts, keys, endpoints, hints, health, unzoned, unnoded)
    return made if made.useful else msgspec.structs.replace(made, hints=())


def gathering(parts: Mapping[str, SliceContribution]) -> Steps[list[Addresses]]:
    """Return all endpoints, fit or not, those of the preferred family first."""
    families: dict[str, dict[str, ContributedEndpoint]] = {}
    for part in parts.values():
        part.put_over(families.setdefault(part.family, {}))
        yield 0
    return list(reversed(families.values()))


def choosing(families: Sequence[Addresses], *, plain: bool = False) -> Steps[Addresses]:
    """Return who of some endpoints is listed.

    Args:
        families: The endpoints of each family, the preferred one first.
        plain: Whether all of them are known to be ready.
    """
    if not plain:
        families = yield from _fitting(families)
    chosen: Addresses = {}
    for found in families:
        if not chosen:
            chosen = found
            continue
        uids: set[str] = set()
        for some in portions(chosen.values()):
            uids.update(one.uid for one in some)
            yield 0
        uids.discard("")
        both = dict(chosen)
        for pairs in portions(found.items()):
            both.update((k, one) for k, one in pairs if one.uid not in uids and k not in chosen)
            yield 0
        chosen = both
    return chosen


def _fitting(families: Sequence[Addresses]) -> Steps[list[Addresses]]:
    """Return the ready endpoints; where there are none, those terminating that still serve."""
    for health in (Health.READY, Health.TERMINATING):
        fit: list[Addresses] = []
        for found in families:
            kept: dict[str, ContributedEndpoint] = {}
            for pairs in portions(found.items()):
                kept.update((k, one) for k, one in pairs if one.endpoint.health is health)
                yield 0
            fit.append(kept)
        if any(fit):
            return fit
    return []


def _taking(members: Addresses, keys: Sequence[str]) -> Steps[list[ContributedEndpoint]]:
    found: list[ContributedEndpoint] = []
    for some in chunks(keys):
        found += [members[key] for key in some]
        yield 0
    return found


def _each(made: Iterable[list[T]]) -> Steps[tuple[T, ...]]:
    found: list[T] = []
    for portion in made:
        found += portion
        yield 0
    return tuple(found)


def _unmeant(hints: Sequence[Hints]) -> Steps[tuple[int, int]]:
    """Return how many hints name no zones, and how many no nodes."""
    unzoned = unnoded = 0
    for some in chunks(hints):
        unzoned += [hint.zones for hint in some].count(())
        unnoded += [hint.nodes for hint in some].count(())
        yield 0
    return unzoned, unnoded


def _changing(before: Listing, parts: Mapping[str, SliceContribution]) -> Steps[Listing | None]:
    """Return the list as a change of the one before; None: it must be made whole.

    An endpoint decides over others by its health, which that of the list is, and, where there are
    two families, by its target.
    """
    families = {part.family for of in (before.parts, parts) for part in of.values() if part.members}
    if before.health is None or len(families) != 1:
        return None
    keys = yield from _changed_keys(before, parts)
    if keys is None:
        return None
    was: dict[str, ContributedEndpoint] = {}
    now: dict[str, ContributedEndpoint] = {}
    for key in keys:
        found = _standing(parts, key)
        if found is not None and found.endpoint.health is Health.READY is not before.health:
            return None
        for listed, one in ((was, _standing(before.parts, key)), (now, found)):
            if one is not None and one.endpoint.health is before.health:
                listed[key] = one
        yield 0
    counts = yield from _unmeant([one.hints for one in now.values()])
    less = yield from _unmeant([one.hints for one in was.values()])
    bare = msgspec.structs.replace(
        before,
        parts=parts,
        unzoned=before.unzoned + counts[0] - less[0],
        unnoded=before.unnoded + counts[1] - less[1],
    )
    if len(before.keys) + len(now) == len(was) or bare.useful is not before.useful:
        return None
    return (yield from _edited(bare, keys, [now.get(key) for key in keys]))


def _edited(
    before: Listing, keys: list[str], members: list[ContributedEndpoint | None]
) -> Steps[Listing]:
    """Return a list with members replaced by key; None removes one."""
    spans = _spans(before.keys, keys)
    pairs = zip(keys, members, strict=True)
    order = _spliced(before.keys, spans, [key if one else None for key, one in pairs])
    yield 0
    targets = [one.endpoint if one else None for one in members]
    endpoints = tuple(_spliced(before.endpoints, spans, targets))
    yield 0
    hints = before.hints
    if before.useful:
        meant = [one.hints if one else None for one in members]
        hints = tuple(_spliced(before.hints, spans, meant))
    return msgspec.structs.replace(before, keys=order, endpoints=endpoints, hints=hints)


def _changed_keys(
    before: Listing, parts: Mapping[str, SliceContribution]
) -> Steps[list[str] | None]:
    """Return the keys that slices changed, in order; None: they are too many."""
    most = max(_FEW, len(before.keys) // _SHARE)
    changed: set[str] = set()
    for name in before.parts.keys() | parts.keys():
        was, now = before.parts.get(name), parts.get(name)
        if was is now:
            continue
        old: Addresses = was.members if was else {}
        new: Addresses = now.members if now else {}
        changed.update(key for key in old.keys() | new.keys() if old.get(key) is not new.get(key))
        if len(changed) > most:
            return None
        yield 0
    return sorted(changed)


def _standing(parts: Mapping[str, SliceContribution], key: str) -> ContributedEndpoint | None:
    """Return who has an address, as `gathering` finds it."""
    found: ContributedEndpoint | None = None
    for part in parts.values():
        member = part.members.get(key)
        if member is not None and (found is None or member.displaces(found)):
            found = member
    return found


def _if(one: ContributedEndpoint | None, health: Health) -> ContributedEndpoint | None:
    return one if one is not None and one.endpoint.health is health else None


def _spans(keys: Sequence[str], edits: Iterable[str]) -> list[tuple[int, int]]:
    """Return where each key stands, or is to stand, in ascending order: from where to where."""
    spans: list[tuple[int, int]] = []
    start = 0
    for key in edits:
        start = bisect_left(keys, key, start)
        spans.append((start, start + (start < len(keys) and keys[start] == key)))
    return spans


def _spliced(
    items: Sequence[T], spans: Sequence[tuple[int, int]], edits: Sequence[T | None]
) -> list[T]:
    """Return items with some replaced; None removes one."""
    found: list[T] = []
    done = 0
    for (start, end), edit in zip(spans, edits, strict=True):
        found += items[done:start]
        if edit is not None:
            found.append(edit)
        done = end
    found += items[done:]
    return found
