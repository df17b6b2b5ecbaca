"""Asks a resolver again and again, on a thread of its own."""

import socket
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol, TypeAlias

from client_resolver.config.target import CustomTarget, DnsTarget, StaticTarget
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.core.polling import Polling
from client_resolver.resolver import Resolve, dns
from client_resolver.resolver.custom import listed
from client_resolver.telemetry.log import reason

__all__ = ["Look", "Poller", "look_of"]

Look: TypeAlias = Callable[[], ServerList]
"""Returns the backends that there are now. May wait, and may raise anything."""


class Listener(Protocol):
    """Receives the answers."""

    def found(self, answer: ServerList) -> None:
        """An answer came."""

    def failed(self, why: str) -> None:
        """There was no answer."""


def look_of(
    target: DnsTarget | StaticTarget | CustomTarget, resolvers: Mapping[str, Resolve]
) -> Look:
    """Return what looks up the backends of a target."""
    match target:
        case DnsTarget(host=host, port=port):
            return lambda: dns.read(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        case StaticTarget(addresses=addresses):
            return lambda: ServerList(tuple(map(Endpoint, addresses)))
        case CustomTarget(text=text, scheme=scheme):
            # A coroutine is refused by `listed`.
            return lambda: listed(resolvers[scheme](text))  # type: ignore[arg-type]


class Poller:
    """Looks when a `Polling` says so, until it is stopped.

    Args:
        look: Is called for each look, one at a time.
        polling: Says when.
        listener: Receives the result, on the poller's thread.
    """

    def __init__(self, look: Look, polling: Polling, listener: Listener) -> None:
        self._look = look
        self._polling = polling
        self._listener = listener
        self._changed = threading.Condition()
        self._stopped = False

    def run(self) -> None:
        """Poll until `stop`. For a thread of its own."""
        while self._await_due():
            try:
                answer = self._look()
                if not self._stopped:
                    self._listener.found(answer)
            except Exception as error:  # noqa: BLE001 - whatever a user's resolver raises
                self._tell(self._polling.failed)
                if not self._stopped:
                    self._listener.failed(reason(error))
            else:
                self._tell(self._polling.succeeded)

    def resolve_now(self) -> None:
        """Have the next look at once."""
        self._tell(self._polling.resolve_now)

    def backend_failed(self) -> None:
        """A backend can't be reached: the next lookup comes soon."""
        self._tell(self._polling.backend_failed)

    def stop(self) -> None:
        """Have `run` return, and tell the listener nothing more. Waits for nothing."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _await_due(self) -> bool:
        with self._changed:
            while not self._stopped:
                now = monotonic()
                if self._polling.due_at <= now:
                    self._polling.begun(now)
                    return True
                self._changed.wait(self._polling.due_at - now)
            return False

    def _tell(self, event: Callable[[float], None]) -> None:
        with self._changed:
            event(monotonic())
            self._changed.notify_all()
