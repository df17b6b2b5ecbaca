"""A lock that no thread ever waits for twice."""

from collections.abc import Callable
from threading import Lock, RLock, get_ident
from typing import Protocol, TypeVar, cast

__all__ = ["Guard", "Lock", "RLock", "owned"]

T = TypeVar("T")


class Guard:
    """Has threads do something one at a time, and knows who is at it.

    A signal handler runs on the main thread between any two of its bytecodes, a finaliser on any
    thread, at any allocation: also while that thread is inside. What they do is then done
    `otherwise`, for the thread would wait for itself.

    The lock is never left behind because of two facts of CPython up to 3.13: handlers run, and
    raise, only at the start of a Python function, at a jump backwards and after a call; and `with`
    takes and gives back a lock of C without such a place. So there is none between taking the lock
    and `_holder = me`, nor between `_holder = 0` and giving it back. A context manager written in
    Python, `threading.Condition` among them, has several.
    """

    __slots__ = ("_holder", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._holder = 0

    @property
    def held(self) -> bool:
        """Whether the thread that asks is inside."""
        return self._holder == get_ident()

    def run(self, work: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """Do `work` while no other thread is inside; `otherwise` where this thread is already."""
        me = get_ident()
        if self._holder == me:
            return otherwise()
        with self._lock:
            self._holder = me
            try:
                return work()
            finally:
                self._holder = 0


class _Owned(Protocol):
    def _is_owned(self) -> bool: ...


def owned(lock: RLock) -> bool:
    """Whether the thread that asks holds a lock that one thread may take several times.

    The name is a private one, by which `threading.Condition` goes: a test pins it.
    """
    return cast("_Owned", lock)._is_owned()  # noqa: SLF001
