"""Observers of a channel: users' own hooks, and the metrics of this package.

Every method does nothing here; override those that you need. They are called where the event
happens, on the event loop or on whatever thread it is, and must not wait. What they raise is logged
and goes no further. A channel without observers doesn't even read the clock.
"""

from collections.abc import Callable
from typing import NamedTuple

from client_resolver.core.model import Connectivity, Revision
from client_resolver.core.snapshot import ChannelSnapshot

__all__ = ["Attempt", "Observer"]


class Attempt(NamedTuple):
    """One attempt of an RPC on one backend.

    Attributes:
        target: The channel's target as it was given.
        method: `/package.Service/Method`.
        backend: `HOST:PORT` of the backend.
        number: 0 for the RPC's first attempt, 1 for the next…
        hedge: It was started beside another that has not ended.
    """

    target: str
    method: str
    backend: str
    number: int
    hedge: bool


class Observer:
    """Receives a channel's events. Subclass it and override what you need."""

    def channel_started(self, target: str, snapshot: Callable[[], ChannelSnapshot]) -> None:
        """A channel was used for the first time.

        Args:
            target: The channel's target as it was given.
            snapshot: Returns the channel's whole state. It may be called from any thread until
                `channel_closed` is given the same object.
        """

    def channel_closed(self, target: str, snapshot: Callable[[], ChannelSnapshot]) -> None:
        """A started channel was closed."""

    def attempt_started(self, attempt: Attempt) -> None:
        """An attempt started on a backend."""

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        """An attempt ended.

        Args:
            attempt: As given to `attempt_started`.
            code: The name of its gRPC status code.
            seconds: How long it took.
        """

    def rpc_started(self, target: str, method: str) -> None:
        """The application started an RPC."""

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:
        """An RPC ended for the application.

        Args:
            target: The channel's target.
            method: `/package.Service/Method`.
            code: The name of its gRPC status code.
            seconds: How long it took, with all waiting and all attempts.
            attempts: The number of attempts that started on a backend.
        """

    def connection_changed(
        self, target: str, backend: str, before: Connectivity | None, after: Connectivity | None
    ) -> None:
        """The state of a backend's connection changed. `before` None: new; `after` None: gone."""

    def ejected(self, target: str, backend: str, seconds: float, reason: str) -> None:
        """Outlier detection ejected a backend for a number of seconds."""

    def returned(self, target: str, backend: str) -> None:
        """An ejected backend may be picked again."""

    def list_changed(self, target: str, revision: Revision, backends: int) -> None:
        """The list of backends changed."""

    def list_confirmed(self, target: str) -> None:
        """The list held was confirmed as current."""

    def balancer_lost(self, target: str, reason: str) -> None:
        """The balancer, or another resolver, can't be reached."""
