"""One face over the resolution of both shells, without a channel on top."""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from random import Random
from time import monotonic
from typing import Any

from client_resolver.aio.resolution import Resolution as AioResolution
from client_resolver.config.settings import Settings
from client_resolver.core.backoff import FullJitter
from client_resolver.core.delta import Delta
from client_resolver.core.model import Code, Revision, ServerList
from client_resolver.core.watch import Lost, Watch
from client_resolver.sync.resolution import Resolution as SyncResolution
from tests.conformance.servers import BOUND


class Feed:
    """A flow that keeps what it is told, and the resolution that tells it."""

    def __init__(self, shell: str, settings: Settings, **waits: float) -> None:
        backoff = FullJitter(*settings.watch_backoff, Random())
        self.watch = Watch(settings.target.source, backoff, settings.older_revision_hold)
        self.named: list[Revision | None] = []
        self.losses: list[str] = []
        self.lists = 0
        self._changed = threading.Condition()
        self.resolution: SyncResolution | AioResolution
        make = SyncResolution if shell == "sync" else AioResolution
        self.resolution = make(settings, self, **waits)
        self.resolution.start()

    def begun(self) -> Revision | None:
        with self._changed:
            self.named.append(self.watch.begun(monotonic()))
            self._changed.notify_all()
            return self.named[-1]

    def received(self, message: ServerList | Delta) -> ServerList | None:
        with self._changed:
            self.watch.received(message, monotonic())
            self.lists += 1
            self._changed.notify_all()
            return self.watch.current

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        with self._changed:
            lost = self.watch.lost(code, details, monotonic(), misread=misread)
            self.losses.append(lost.text)
            self._changed.notify_all()
            return lost

    def fallback_failed(self, why: str) -> None:
        with self._changed:
            self.watch.fallback_failed(why)
            self._changed.notify_all()

    @property
    def addresses(self) -> list[str] | None:
        """The backends of the list that holds. None: there is none."""
        current = self.watch.current
        return None if current is None else [one.address.text for one in current.endpoints]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is the case that what was told may change."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(true, BOUND)

        assert await asyncio.to_thread(wait), (self.addresses, self.losses)

    async def until_listed(self, *addresses: str) -> None:
        """Wait until these backends are the list that holds."""
        await self.until(lambda: self.addresses == list(addresses))

    async def close(self) -> None:
        if isinstance(self.resolution, SyncResolution):
            await asyncio.to_thread(self.resolution.close)
        else:
            await self.resolution.close()


class Names:
    """What `socket.getaddrinfo` finds: set by the test. Names that aren't set are looked up."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}
        self._hosts: dict[str, Sequence[str] | OSError] = {}
        self._changed = threading.Condition()
        self._real = socket.getaddrinfo

    def set(self, name: str, found: Sequence[str] | OSError) -> None:
        self._hosts[name] = found

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        found = self._hosts.get(host)
        if found is None:
            return self._real(host, port, *args, **kwargs)
        with self._changed:
            self.looks[host] = self.looks.get(host, 0) + 1
            self._changed.notify_all()
        if isinstance(found, OSError):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    async def until_looked(self, host: str, times: int) -> None:
        """Wait until a name has been looked up so many times."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: self.looks.get(host, 0) >= times, BOUND)

        assert await asyncio.to_thread(wait), self.looks


def settings_of(target: str, keywords: Mapping[str, Any]) -> Settings:
    return Settings.of(target, None, None, None, {"watch_backoff": (0.01, 0.05), **keywords})  # type: ignore[typeddict-item]
