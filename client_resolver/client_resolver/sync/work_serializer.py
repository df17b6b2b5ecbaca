"""One piece of work at a time, without waiting: what C-core calls a work serializer.

Who brings work leaves it in a queue, and does what is there unless somebody is at it already, who
then does it all. So no thread waits for another, and none for itself: whatever interrupts a thread
in here (a finaliser, a signal handler, a `logging` handler, a policy of the application's) leaves
its own work behind as well.
"""

import logging
from collections import deque
from collections.abc import Callable
from threading import Lock, get_ident, main_thread
from typing import Generic, TypeVar

from client_resolver.sync.nesting import is_nested
from client_resolver.sync.wakeups import Wakeup

__all__ = ["WorkSerializer"]

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that a thread waits for another that is inside, where it wants to know something. It is
inside for some milliseconds at most, unless code of the application's keeps it there."""

_MOMENT = 0.05
"""Seconds that the main thread waits at most for work that it has handed over, where what it does
next should know of it. Only code of the application's can hold the other thread up that long."""

_logger = logging.getLogger("client_resolver")


class WorkSerializer:
    """Does work of any thread, one piece at a time and in order.

    Signal handlers run on the main thread, and may raise. So no change is made there, or it could
    be cut in two: the main thread leaves all of them to `hand_over`. What it does itself is
    reading.

    No thread waits for a lock that it has seen taken. Where it is taken by another in between, the
    wait is for one who took it later than the waiting thread took whatever it holds: so there is no
    circle of threads that wait for each other, however they are interrupted.

    That the lock is never left behind is explained at `client_resolver.core.guard`.

    Args:
        hand_over: Has some other thread call `drain` soon. Called on any thread.
    """

    def __init__(self, hand_over: Callable[[], None]) -> None:
        self._hand_over = hand_over
        self._lock = Lock()
        self._holder = 0
        self._queue: deque[Callable[[], object]] = deque()

    @property
    def held(self) -> bool:
        """Whether the thread that asks is inside, below what it does now."""
        return self._holder == get_ident()

    def post(self, work: Callable[[], object]) -> None:
        """Have work done: before this returns if that is possible, else soon."""
        self._queue.append(work)
        if on_main_thread():
            self._hand_over()
        else:
            self.drain()

    def await_post(self, work: Callable[[], object]) -> None:
        """Post work, and if it is handed over, wait a moment for it to be done."""
        if not on_main_thread():
            self.post(work)
            return
        waited = _Awaited(work)
        self.post(waited)
        if not is_nested():
            waited.done.wait(_MOMENT)

    def read(self, work: Callable[[], T]) -> T | None:
        """Do work that changes nothing, while nothing changes. None: that can't be had now.

        That is so if the thread is inside already, or if another is that it must not wait for, or
        that stays there for long.
        """
        me = get_ident()
        reading = _Awaited(work)
        if self._lock.locked():
            if self._holder == me or is_nested():
                return None
            self._queue.append(reading)
            # Who is inside may have looked at the queue for the last time just before.
            if not self._lock.locked():
                self._hand_over()
            reading.done.wait(_PATIENCE)
        else:
            with self._lock:
                self._holder = me
                try:
                    reading()
                finally:
                    self._holder = 0
            if self._queue:
                self._leave()
        return reading.answer

    def call(self, work: Callable[[], T]) -> T:
        """Do work at once and return what comes of it: for threads of this package alone.

        They hold nothing when they come here, so they may wait.

        Raises:
            BaseException: What `work` raises.
        """
        me = get_ident()
        try:
            with self._lock:
                self._holder = me
                try:
                    self._empty()
                    return work()
                finally:
                    self._holder = 0
        finally:
            self.drain()

    def drain(self) -> None:
        """Do what is in the queue, unless somebody is at it. Not for the main thread."""
        me = get_ident()
        while self._queue:
            if self._lock.locked():
                # The holder looks at the queue once more after releasing the lock.
                return
            with self._lock:
                self._holder = me
                try:
                    self._empty()
                finally:
                    self._holder = 0

    def _empty(self) -> None:
        while self._queue:
            try:
                self._queue.popleft()()
            except Exception:
                # It belongs to the code that queued the work, not to the thread that runs it.
                _logger.exception("a change of a channel's state failed")

    def _leave(self) -> None:
        if on_main_thread():
            self._hand_over()
        else:
            self.drain()


class _Awaited(Generic[T]):
    """Work whose answer somebody waits for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.answer: T | None = None
        self.done = Wakeup()

    def __call__(self) -> None:
        self.answer = self._work()
        self.done.set()


def on_main_thread() -> bool:
    """Whether signal handlers may run on this thread, between any two of its bytecodes."""
    return get_ident() == main_thread().ident
