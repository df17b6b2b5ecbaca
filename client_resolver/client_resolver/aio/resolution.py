"""Finds out a channel's backends: starts, pokes and ends whatever its target needs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random

from client_resolver.aio.cache_writer import CacheWriter
from client_resolver.aio.fallback import Fallback
from client_resolver.aio.poller import Listener, Poller, look_of
from client_resolver.aio.watcher import Watcher
from client_resolver.config.settings import Settings
from client_resolver.config.target import (
    CustomTarget,
    DnsTarget,
    LookasideTarget,
    StaticTarget,
    identity,
)
from client_resolver.core.balancers import Balancers
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.core.polling import Polling
from client_resolver.core.watch import FALLBACK_AFTER, FIRST_MESSAGE, ListSink
from client_resolver.resolver.cache_file import CacheFile
from client_resolver.resolver.sinks import FallbackSink, ListTap, PollSink

__all__ = ["Resolution"]

_END = 5.0
"""Seconds that `close` waits for the tasks. Only one that a coroutine of the user's or a slow disk
holds up takes longer, and it ends by itself."""


class Resolution:
    """All that feeds one channel with lists of backends.

    Args:
        settings: The channel's settings.
        sink: Receives every event, on the event loop.
        fallback_after: Seconds after which the fallback is used where there is no list.
        first_message: Seconds that one of several balancers has to say something.
    """

    def __init__(
        self,
        settings: Settings,
        sink: ListSink,
        fallback_after: float = FALLBACK_AFTER,
        first_message: float = FIRST_MESSAGE,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._rng = Random()  # noqa: S311
        self._tasks: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._file: CacheFile | None = None
        self._cache_writer: CacheWriter | None = None
        self._watcher: Watcher | None = None
        self._fallback: Fallback | None = None
        # Of the target, or of its fallback.
        self._poller: Poller | None = None
        target = settings.target
        if settings.snapshot_path is not None and not isinstance(target, StaticTarget):
            self._file = CacheFile(settings.snapshot_path, identity(target))
            self._cache_writer = CacheWriter(self._file)
        if isinstance(target, LookasideTarget) and settings.fallback is not None:
            answers = FallbackSink(settings.target.text, settings.fallback.text, sink)
            self._poller = self._polling(settings.fallback, answers)
            self._fallback = Fallback(self._poller, fallback_after)
        self._list_tap = ListTap(sink, self._cache_writer, self._fallback)
        match target:
            case LookasideTarget(balancers=addresses):
                balancers = Balancers(addresses, self._rng)
                self._watcher = Watcher(settings, balancers, self._list_tap, first_message)
            case DnsTarget() | CustomTarget():
                self._poller = self._polling(target, PollSink(settings.target.text, self._list_tap))
            case StaticTarget():
                pass

    def start(self) -> None:
        """Start, on the running loop. A static list is given to the sink before this returns."""
        target = self._settings.target
        if isinstance(target, StaticTarget):
            self._sink.received(ServerList(tuple(map(Endpoint, target.addresses))))
        if self._cache_writer is not None:
            self._keeping = asyncio.create_task(self._cache_writer.run(), name="lookaside-snapshot")
        if self._watcher is not None:
            self._spawn(self._after_loading(self._watcher.run), "lookaside-watch")
            if self._fallback is not None:
                self._spawn(self._fallback.run(), "lookaside-fallback")
        elif self._poller is not None:
            self._spawn(self._after_loading(self._poller.run), "lookaside-poll")

    def resolve_now(self) -> None:
        """Look at once, where there is no watch that tells of changes."""
        if self._watcher is not None:
            self._watcher.resolve_now()
        if self._poller is not None:
            self._poller.resolve_now()

    def backend_failed(self) -> None:
        """A backend can't be reached."""
        if self._poller is not None:
            self._poller.backend_failed()

    async def close(self) -> None:
        """End everything, in bounded time. What is to be written to disk is written before."""
        # Cancelling alone is not enough: a coroutine of the user's may swallow the cancellation.
        if self._poller is not None:
            self._poller.stop()
        if self._fallback is not None:
            self._fallback.over()
        for task in self._tasks:
            task.cancel()
        if self._cache_writer is not None:
            self._cache_writer.stop()
        ending = [*self._tasks, self._keeping] if self._keeping is not None else self._tasks
        if ending:
            await asyncio.wait(ending, timeout=_END)

    def _polling(
        self, target: DnsTarget | StaticTarget | CustomTarget, listener: Listener
    ) -> Poller:
        look = look_of(target, self._settings.resolvers)
        return Poller(look, Polling(self._settings.refresh_interval, self._rng), listener)

    async def _after_loading(self, run: Callable[[], Awaitable[None]]) -> None:
        if self._file is not None:
            kept = await asyncio.to_thread(self._file.load)
            if kept is not None:
                self._list_tap.received(kept)
        await run()

    def _spawn(self, run: Coroutine[object, object, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(run, name=name))
