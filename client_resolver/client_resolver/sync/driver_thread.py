"""The driver's thread: it goes round for as long as a channel is open, and ends it."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from client_resolver.sync.backend_connections import IDLE
from client_resolver.sync.wakeups import Wakeup

__all__ = ["DriverThread"]

_logger = logging.getLogger("client_resolver")


class DriverThread:
    """One thread that does what is due, again and again, until it is stopped.

    Any thread may call any method at any time. The lock is `_driving`, which the thread takes when
    it begins and keeps: two who start it at once make two threads, and the second ends at once.

    Args:
        name: What it is for: the text of what it logs begins so.
        work: Wakes it.
        go_round: Does what is due, and returns when something is due next, on the monotonic clock.
        finish: Is called once at the end.

    Attributes:
        runs: It has begun.
        wakes_at: When it runs next by itself. Anything that must happen earlier sets
            `work`.
    """

    def __init__(
        self, name: str, work: Wakeup, go_round: Callable[[], float], finish: Callable[[], None]
    ) -> None:
        self._name = name
        self._work = work
        self._go_round = go_round
        self._finish = finish
        self._driving = threading.Lock()
        self._threads: deque[threading.Thread] = deque()
        self._stopped = False
        self.runs = False
        self.wakes_at = math.inf

    def start(self) -> None:
        """Start it, unless it runs. Waits for no more than a thread to begin."""
        if not self.runs:
            thread = threading.Thread(target=self._run, name="lookaside-driver", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.set()

    def stop(self) -> None:
        """Have it end. Waits for nothing."""
        self._stopped = True
        self._work.set()

    def join(self, timeout: float) -> bool:
        """Wait for its end, `timeout` seconds at most; not for itself. Return whether it ended."""
        threads = list(self._threads)
        for thread in threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(timeout)
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        if not self._driving.acquire(blocking=False):
            return
        self.runs = True
        while not self._stopped:
            try:
                wakes_at = self._go_round()
            except Exception:
                # Of the application's own code, as a policy's. Nothing may end this thread.
                _logger.exception("%s: going round failed", self._name)
                wakes_at = monotonic() + IDLE
            # Anything that must happen earlier sets the wakeup from here on.
            self.wakes_at = wakes_at
            self._work.wait(wakes_at - monotonic())
            self.wakes_at = math.inf
        self._finish()
