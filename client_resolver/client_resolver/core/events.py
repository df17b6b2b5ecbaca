"""Events of a channel, as records for observers."""

from dataclasses import dataclass
from typing import TypeAlias

from client_resolver.core.model import Connectivity, Revision

__all__ = [
    "BalancerLost",
    "ConnectionChanged",
    "Ejected",
    "Event",
    "EventLog",
    "ListChanged",
    "ListConfirmed",
    "Returned",
]


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection of a backend is in another state.

    Attributes:
        address: `HOST:PORT` of the backend.
        before: The state that it was in. None: there was no connection.
        after: The state that it is in. None: there is none any more.
        error: Why it fails, as gRPC says it, where `after` is TRANSIENT_FAILURE.
    """

    address: str
    before: Connectivity | None
    after: Connectivity | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ejected:
    """Outlier detection keeps a backend from being picked.

    Attributes:
        address: `HOST:PORT` of the backend.
        seconds: For how long at least.
        why: What it did.
    """

    address: str
    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A backend that was ejected may be picked again.

    Attributes:
        address: `HOST:PORT` of the backend.
    """

    address: str


@dataclass(frozen=True, slots=True)
class ListChanged:
    """Another list of backends holds.

    Attributes:
        revision: Which.
        backends: How many it has.
    """

    revision: Revision
    backends: int


@dataclass(frozen=True, slots=True)
class ListConfirmed:
    """The list that holds is known to be current at this moment."""


@dataclass(frozen=True, slots=True)
class BalancerLost:
    """The balancer or resolver can't be reached, or has ended the watch.

    Attributes:
        text: What has happened, in words.
    """

    text: str


Event: TypeAlias = (
    ConnectionChanged | Ejected | Returned | ListChanged | ListConfirmed | BalancerLost
)


class EventLog:
    """Keeps events until they are asked for.

    Args:
        on: Whether anybody will ask. Otherwise nothing is to be added.

    Attributes:
        on: Whether events are to be added.
    """

    __slots__ = ("_events", "on")

    def __init__(self, on: bool) -> None:
        self.on = on
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Keep an event. Ask for `on` before making one."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """Return what was added since the last time."""
        events, self._events = self._events, []
        return events
