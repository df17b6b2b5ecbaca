"""Asks a resolver again and again, in a task."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable, iscoroutinefunction
from typing import Protocol, TypeAlias

from client_resolver.config.target import CustomTarget, DnsTarget, StaticTarget
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.core.polling import Polling
from client_resolver.resolver import Resolve, dns
from client_resolver.resolver.custom import listed
from client_resolver.telemetry.log import reason

__all__ = ["Look", "Poller", "look_of"]

Look: TypeAlias = Callable[[], Awaitable[ServerList]]
"""Returns the backends that there are now. May raise anything."""


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

    async def look() -> ServerList:
        match target:
            case DnsTarget(host=host, port=port):
                loop = asyncio.get_running_loop()
                return dns.read(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            case StaticTarget(addresses=addresses):
                return ServerList(tuple(map(Endpoint, addresses)))
            case CustomTarget(text=text, scheme=scheme):
                resolve = resolvers[scheme]
                if iscoroutinefunction(resolve):
                    return listed(await resolve(text))
                answer = await asyncio.to_thread(resolve, text)
                # A callable may return a coroutine without being a coroutine function.
                return listed(await answer if isawaitable(answer) else answer)

    return look


class Poller:
    """Looks when a `Polling` says so, until it is cancelled or stopped.

    Args:
        look: Is awaited for each look, one at a time.
        polling: Says when.
        listener: Receives the result.
    """

    def __init__(self, look: Look, polling: Polling, listener: Listener) -> None:
        self._look = look
        self._polling = polling
        self._listener = listener
        self._changed = asyncio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Poll until `stop`."""
        while await self._await_due():
            try:
                answer = await self._look()
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
        """Have `run` return, and tell the listener nothing more."""
        self._stopped = True
        self._changed.set()

    async def _await_due(self) -> bool:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            now = loop.time()
            if self._polling.due_at <= now:
                self._polling.begun(now)
                return True
            self._changed.clear()
            timer = loop.call_at(self._polling.due_at, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                timer.cancel()
        return False

    def _tell(self, event: Callable[[float], None]) -> None:
        event(asyncio.get_running_loop().time())
        self._changed.set()
