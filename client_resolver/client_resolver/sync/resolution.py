"""Finds out a channel's backends: starts, pokes and ends whatever its target needs."""

import threading
from collections.abc import Callable
from random import Random

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
from client_resolver.sync.cache_writer import CacheWriter
from client_resolver.sync.fallback import Fallback
from client_resolver.sync.poller import Listener, Poller, look_of
from client_resolver.sync.watcher import Watcher

__all__ = ["Resolution"]

_JOIN = 5.0
"""Seconds that `close` waits for a thread. Only one that a user's resolver or the system's DNS
holds up takes longer, and it ends by itself."""


class Resolution:
    """All that feeds one channel with lists of backends.

    Args:
        settings: The channel's settings.
        sink: Receives every event, on threads of this object.
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
        self._threads: list[threading.Thread] = []
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
        """Start. A static list is given to the sink before this returns, on this thread."""
        target = self._settings.target
        if isinstance(target, StaticTarget):
            self._sink.received(ServerList(tuple(map(Endpoint, target.addresses))))
        if self._cache_writer is not None:
            self._spawn(self._cache_writer.run, "lookaside-snapshot")
        if self._watcher is not None:
            self._spawn(self._after_loading(self._watcher.run), "lookaside-watch")
            if self._fallback is not None:
                self._spawn(self._fallback.run, "lookaside-fallback")
        elif self._poller is not None:
            self._spawn(self._after_loading(self._poller.run), "lookaside-poll")

    def resolve_now(self) -> None:
        """Look at once, where there is no watch that tells of changes. Waits for nothing."""
        if self._watcher is not None:
            self._watcher.resolve_now()
        if self._poller is not None:
            self._poller.resolve_now()

    def backend_failed(self) -> None:
        """A backend can't be reached. Does not block."""
        if self._poller is not None:
            self._poller.backend_failed()

    def stop(self) -> None:
        """Have the threads end by themselves. Waits for nothing."""
        for one in (self._watcher, self._poller, self._cache_writer):
            if one is not None:
                one.stop()
        if self._fallback is not None:
            self._fallback.over()

    def close(self) -> None:
        """End everything, in bounded time."""
        self.stop()
        if self._watcher is not None:
            self._watcher.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN)

    def _polling(
        self, target: DnsTarget | StaticTarget | CustomTarget, listener: Listener
    ) -> Poller:
        look = look_of(target, self._settings.resolvers)
        return Poller(look, Polling(self._settings.refresh_interval, self._rng), listener)

    def _after_loading(self, run: Callable[[], None]) -> Callable[[], None]:
        # On the thread of `run`: the channel's first RPC doesn't wait for a disk.
        def load_and_run() -> None:
            kept = None if self._file is None else self._file.load()
            if kept is not None:
                self._list_tap.received(kept)
            run()

        return load_and_run

    def _spawn(self, run: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
