"""Writes the list that holds to disk, on a thread of its own."""

import threading

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
        self._changed = threading.Condition()
        self._newest: ServerList | None = None
        self._stopped = threading.Event()

    def keep(self, current: ServerList | None) -> None:
        """The current list changed. Does not block."""
        if worth_keeping(current):
            with self._changed:
                self._newest = current
                self._changed.notify_all()

    def run(self) -> None:
        """Write until `stop`. For a thread of its own."""
        written: ServerList | None = None
        while True:
            with self._changed:
                while self._newest in (None, written) and not self._stopped.is_set():
                    self._changed.wait()
                newest, last = self._newest, self._stopped.is_set()
            if newest is not None and newest != written:
                self._file.save(newest)
                written = newest
            if last:
                return
            self._stopped.wait(self._interval)

    def stop(self) -> None:
        """Have `run` return, after it has written what it hasn't."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
