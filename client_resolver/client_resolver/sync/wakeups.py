"""Wakeups between threads, without a lock that a signal handler could find taken.

`threading.Event`, `Condition` and `queue.Queue` are written in Python around a lock. A handler that
interrupts one of their methods and calls another waits for its own thread, forever; and if it
raises there, the lock may stay taken. What is here consists of single steps of C.
"""

from threading import Lock

__all__ = ["Wakeup", "Wakeups"]


class Wakeup:
    """Wakes the one thread that waits for it, now or the next time that it does."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake it. Doing so several times before it waits wakes it once."""
        try:
            self._lock.release()
        except RuntimeError:
            # It is set.
            return

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and take that back. Return whether it was.

        Args:
            timeout: Seconds to wait at most. None: any time.
        """
        # C takes no more than some 292 years.
        return self._lock.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), 1e6))


class Wakeups:
    """Wakes all threads that wait for something that they look at themselves.

    A thread makes a wakeup, adds it, and looks, before each wait: what changes after that wakes it.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Wakeup, None] = {}

    def add(self, wakeup: Wakeup) -> None:
        """Have it set at every change from now on."""
        self._waiting[wakeup] = None

    def remove(self, wakeup: Wakeup) -> None:
        """Undo `add`."""
        self._waiting.pop(wakeup, None)

    def set(self) -> None:
        """Wake all."""
        for wakeup in list(self._waiting):
            wakeup.set()
