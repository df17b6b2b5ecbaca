"""What one ADS stream has asked for, been sent, taken and refused. Pure.

Both variants of the protocol: state of the world, where each request names all that a client wants
of a type, and delta, where it names what it wants more or no longer
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol).

Nothing is queued. A name whose state may have changed is marked, and when the stream can be written
to, the state of that moment is compared with what was sent last.

Names are read from every request, whatever its nonce: requests come in order, so the last has
what the client wants. The protocol has a server ignore requests with old nonces, lest it answers
twice; here what was sent already is not sent again. Nonces only tell what was accepted or refused.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from lookaside.api.xds.resource import UNKNOWN, Absent, Outcome, Resource, Response, Type, response

WILDCARD = "*"

Look = Callable[[Type, str], Outcome]
"""Tells what is known now under a name."""


class Ask(Struct, frozen=True):
    """One request of a client.

    Attributes:
        kind: The type.
        names: All the names that the client wants, or those that it wants more.
        dropped: The names that it wants no longer (delta).
        held: The versions that it has from an earlier stream, by name (delta).
        resumed: Whether it has resources of this type from an earlier stream.
        nonce: The response that is answered; "": none.
        refusal: Why that was refused; "": it was taken.
    """

    kind: Type
    names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    held: Mapping[str, str] = {}
    resumed: bool = False
    nonce: str = ""
    refusal: str = ""


class Change(Struct, frozen=True):
    """What a request comes to.

    Attributes:
        added: The names that were not wanted before.
        removed: Those that no longer are.
        refused: The names of the resources that the client has refused.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class Session(Protocol):
    """One stream, in either variant."""

    def ask(self, request: Ask) -> Change:
        """Accept a request."""

    def mark(self, name: str) -> None:
        """Say that what is known under a name may have changed."""

    def next(self, look: Look) -> Response | None:
        """Return what is to be sent now; None: nothing. It counts as sent."""

    def wanted(self, kind: Type) -> Collection[str]:
        """Return the names that are asked for of a type."""


class _Wanted:
    """What is known of one type on one stream.

    Attributes:
        asked: Whether there was a request.
        resumed: Whether the client had resources when the stream began.
        explicit: The names that the client gave.
        wildcard: Whether it wants all that its node lists as well.
        names: Both together.
        sent: By name, the version that was sent last; "": that there is none.
        marked: The names to be looked at.
        fresh: No response was sent since names were first asked for.
        unanswered: By nonce, the names of resources that were neither taken nor refused.
    """

    __slots__ = (
        "asked",
        "explicit",
        "fresh",
        "marked",
        "names",
        "resumed",
        "sent",
        "unanswered",
        "wildcard",
    )

    def __init__(self) -> None:
        self.asked = False
        self.resumed = False
        self.explicit: dict[str, None] = {}
        self.wildcard = False
        self.names: dict[str, None] = {}
        self.sent: dict[str, str] = {}
        self.marked: dict[str, None] = {}
        self.fresh = True
        self.unanswered: dict[str, tuple[str, ...]] = {}

    def settle(self, listed: Iterable[str]) -> Change:
        """Compute the names again, and mark the new ones."""
        names = dict.fromkeys(listed) | self.explicit if self.wildcard else dict(self.explicit)
        added = tuple(name for name in names if name not in self.names)
        removed = tuple(name for name in self.names if name not in names)
        self.names = names
        # A client that asks for a name again has forgotten what it had.
        for name in removed:
            self.sent.pop(name, None)
            self.marked.pop(name, None)
        self.marked.update(dict.fromkeys(added))
        return Change(added, removed)

    def may_lose(self, name: str, outcome: Outcome) -> bool:
        """Whether a client might drop a resource that may still exist."""
        return outcome is UNKNOWN and (self.resumed or bool(self.sent.get(name)))

    def answered(self, request: Ask) -> tuple[str, ...]:
        """Record whether a response was accepted; return the names that were refused."""
        names = self.unanswered.pop(request.nonce, ())
        return names if request.refusal else ()

    def send(self, made: Response) -> Response:
        """Note a response as sent."""
        names = tuple(one.name for one in made.resources)
        self.sent.update((one.name, one.version) for one in made.resources)
        self.sent.update((name, "") for name, _ in made.absent)
        self.unanswered.pop(made.nonce, None)
        self.unanswered[made.nonce] = names
        # A client that answers none is not to fill the memory.
        while len(self.unanswered) > len(self.names) + 1:
            del self.unanswered[next(iter(self.unanswered))]
        self.fresh = False
        return made


class _Stream:
    """What both variants have in common.

    Args:
        listed: The names that a client gets that asks for all.
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._listed = tuple(listed)
        self._types = {kind: _Wanted() for kind in Type}

    def wanted(self, kind: Type) -> Collection[str]:
        """Return the names that are asked for of a type."""
        return self._types[kind].names

    def mark(self, name: str) -> None:
        """Say that what is known under a name may have changed."""
        for wanted in self._types.values():
            if name in wanted.names:
                wanted.marked[name] = None


class StateOfTheWorld(_Stream):
    """A `Session` of StreamAggregatedResources."""

    def ask(self, request: Ask) -> Change:
        """Accept a request, which names all that the client wants of a type.

        No names in the first one of listeners or clusters ask for all; once a name was given, they
        ask for none.
        """
        wanted = self._types[request.kind]
        if WILDCARD in request.names or not (request.names or wanted.asked):
            wanted.wildcard = request.kind.whole
        elif request.names or wanted.explicit:
            wanted.wildcard = False
        if not wanted.asked:
            wanted.resumed = request.resumed
        wanted.asked = True
        wanted.explicit = dict.fromkeys(name for name in request.names if name != WILDCARD)
        change = wanted.settle(self._listed)
        return Change(change.added, change.removed, wanted.answered(request))

    def next(self, look: Look) -> Response | None:
        """Return what is to be sent now; None: nothing. It counts as sent."""
        for kind, wanted in self._types.items():
            made = self._whole(kind, wanted, look) if kind.whole else self._one(kind, wanted, look)
            if made is not None:
                return wanted.send(made)
        return None

    def _whole(self, kind: Type, wanted: _Wanted, look: Look) -> Response | None:
        """Return all resources of a type, unless nothing has changed.

        What is not in it counts as gone. So nothing is sent while there are names that have not
        been looked at, or that may still exist and that the client may have.
        """
        if not wanted.marked and not (wanted.fresh and wanted.wildcard):
            return None
        found = {name: look(kind, name) for name in wanted.names}
        if any(one is None or wanted.may_lose(name, one) for name, one in found.items()):
            return None
        wanted.marked.clear()
        told = all(wanted.sent.get(name, "") == _version(one) for name, one in found.items())
        return None if told and not wanted.fresh else response(kind, *_parted(found))

    def _one(self, kind: Type, wanted: _Wanted, look: Look) -> Response | None:
        """Return the first resource that has changed. There is no way to say that one is gone."""
        while wanted.marked:
            name = next(iter(wanted.marked))
            del wanted.marked[name]
            outcome = look(kind, name)
            if isinstance(outcome, Resource) and wanted.sent.get(name) != outcome.version:
                return response(kind, [outcome])
        return None


class Delta(_Stream):
    """A `Session` of DeltaAggregatedResources."""

    def ask(self, request: Ask) -> Change:
        """Accept a request, which names what the client wants more, and what no longer.

        A first one of listeners or clusters without names asks for all. What is named again is
        sent again, for the client may have forgotten it.
        """
        wanted = self._types[request.kind]
        first, wanted.asked = not wanted.asked, True
        if WILDCARD in request.names or (first and not request.names):
            wanted.wildcard = request.kind.whole
        if WILDCARD in request.dropped:
            wanted.wildcard = False
        for name in request.names:
            if name != WILDCARD:
                wanted.explicit[name] = None
        for name in request.dropped:
            wanted.explicit.pop(name, None)
        change = wanted.settle(self._listed)
        again = [*request.names, *request.dropped]
        for name in again:
            if name in wanted.names:
                wanted.sent.pop(name, None)
                wanted.marked[name] = None
        if first:
            self._resume(wanted, request.held)
        return Change(change.added, change.removed, wanted.answered(request))

    def next(self, look: Look) -> Response | None:
        """Return what is to be sent now; None: nothing. It counts as sent.

        Endpoints go one resource a response: Envoy refuses a whole response for one bad
        resource.
        """
        for kind, wanted in self._types.items():
            made = self._changed(kind, wanted, look)
            if made is not None:
                wanted.send(made)
                for name, _ in made.absent:
                    if name not in wanted.names:
                        del wanted.sent[name]
                return made
        return None

    def _resume(self, wanted: _Wanted, held: Mapping[str, str]) -> None:
        """Note what a client has from an earlier stream. What it asks for all of may have gone."""
        for name, version in held.items():
            if name in wanted.names:
                wanted.sent[name] = version
            elif wanted.wildcard:
                wanted.sent[name] = version
                wanted.marked[name] = None

    def _changed(self, kind: Type, wanted: _Wanted, look: Look) -> Response | None:
        if (
            wanted.fresh
            and wanted.wildcard
            and any(look(kind, one) is None for one in wanted.names)
        ):
            # An Envoy takes the first response for all that there is, and starts with it.
            return None
        found = dict[str, Resource | Absent]()
        while wanted.marked and not (found and kind is Type.ENDPOINTS):
            name = next(iter(wanted.marked))
            del wanted.marked[name]
            outcome = look(kind, name) if name in wanted.names else _UNLISTED
            if isinstance(outcome, Resource | Absent) and (
                wanted.sent.get(name) != _version(outcome)
            ):
                found[name] = outcome
        if not found and not (wanted.fresh and wanted.wildcard):
            return None
        return response(kind, *_parted(found))


_UNLISTED = Absent("no longer asked for", 5)


def _version(outcome: Outcome) -> str:
    return outcome.version if isinstance(outcome, Resource) else ""


def _parted(
    found: Mapping[str, Outcome],
) -> tuple[list[Resource], list[tuple[str, Absent]]]:
    there = [one for one in found.values() if isinstance(one, Resource)]
    absent = [(name, one) for name, one in found.items() if isinstance(one, Absent)]
    return there, absent
