"""Writes the list that holds to disk, in a task."""

import asyncio
from contextlib import suppress

from client_resolver.core.model import ServerList
from client_resolver.resolver.cache_file import INTERVAL, CacheFile, worth_keeping

__all__ = ["CacheWriter"]


class CacheWriter:
    """Writes the newest list, once per `interval` at most. What came last is written at the end.

    Args:
        file: Where to.
        interval: In seconds.
    """

    def __init__(self, file: CacheFile, interval: float = INTERVAL) -> None:
        self._file = file
        self._interval = interval
        self._changed = asyncio.Event()
        self._newest: ServerList | None = None
        self._stopped = asyncio.Event()

    def keep(self, current: ServerList | None) -> None:
        """The current list changed."""
        if worth_keeping(current):
            self._newest = current
            self._changed.set()

    async def run(self) -> None:
        """Write until `stop`."""
        written: ServerList | None = None
        while True:
            while self._newest in (None, written) and not self._stopped.is_set():
                self._changed.clear()
                await self._changed.wait()
            newest, last = self._newest, self._stopped.is_set()
            if newest is not None and newest != written:
                await asyncio.to_thread(self._file.save, newest)
                written = newest
            if last:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._stopped.wait()

    def stop(self) -> None:
        """Have `run` return, after it has written what it hasn't."""
        self._stopped.set()
        self._changed.set()
