"""The requests of a streaming RPC, so kept that another attempt can be given them again."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from client_resolver.config.call_arguments import refuse_unless_bytes
from client_resolver.sync.wakeups import Wakeup, Wakeups

__all__ = ["Kept", "Requests", "keeping"]


class Kept:
    """One request, and its bytes once it was sent for the first time."""

    __slots__ = ("data", "request")

    def __init__(self, request: object) -> None:
        self.request: object = request
        self.data: bytes | None = None


def keeping(serializer: Callable[[Any], bytes] | None) -> Callable[[Kept], bytes]:
    """Make the serializer of what `Requests` hands out: each request is serialized once."""

    def serialize(kept: Kept) -> bytes:
        data = kept.data
        if data is None:
            made: object = kept.request if serializer is None else serializer(kept.request)
            # What is raised here ends the RPC. What grpc would raise itself, it would not tell.
            data = refuse_unless_bytes(made, "message")
            kept.data = data
            kept.request = None
        return data

    return serialize


class Requests:
    """Hands an iterator of requests to one attempt after another, or to several side by side.

    grpc takes the first request from the iterator before it knows of a connection, so the first is
    always kept until the second is asked for. Beyond it they are kept up to a limit, and dropped
    once that is passed: from then on there is no other attempt.

    An attempt reads what is kept without waiting for the source, for a source may itself wait for
    the attempt's responses. One thread at a time asks the source.

    grpc's threads take requests, and those that are at the call begin and end attempts. Code that
    interrupts one of these on its own thread passes the lock: each step leaves a consistent state.

    Args:
        source: The requests.
        limit: How many bytes are kept. 0: no more than the first request.
    """

    def __init__(self, source: Iterable[object], limit: int = 0) -> None:
        # As grpc has it, what is no iterable fails the RPC, not the call that begins it.
        self._source = iter(source) if hasattr(source, "__iter__") else _refusing(source)
        self._limit = limit
        self._kept: list[Kept] = []
        self._dropped = 0
        self._size = 0
        self._counted = 0
        self._full = False
        self._asking = False
        self._ended = False
        self._error: BaseException | None = None
        self._live: set[_Attempt] = set()
        self._lock = threading.RLock()
        self._changed = Wakeups()

    @property
    def repeatable(self) -> bool:
        """Whether another attempt can be given all requests."""
        return self._dropped == 0

    @property
    def broken(self) -> bool:
        """Whether the application's iterator has raised."""
        return self._error is not None

    def attempt(self, *, beside: bool = False) -> Iterator[Kept]:
        """Begin an attempt.

        Args:
            beside: The attempts before it go on. Otherwise they get no more requests.
        """
        attempt = _Attempt(self)
        with self._lock:
            if not beside:
                self._live.clear()
            self._live.add(attempt)
            self._changed.set()
        return attempt

    def only(self, attempt: Iterator[Kept]) -> None:
        """There will be no other attempt than this."""
        with self._lock:
            self._live = {one for one in self._live if one is attempt}
            self._limit = 0
            self._drop()
            self._changed.set()

    def end(self) -> None:
        """The RPC ended. No thread waits any longer, except one that reads the source."""
        with self._lock:
            self._live.clear()
            self._kept.clear()
            self._changed.set()

    def next_for(self, attempt: "_Attempt") -> Kept:
        """Return an attempt's next request. Waits for the source where nothing is kept.

        Raises:
            StopIteration: There is no other, or not for this attempt.
        """
        changed = Wakeup()
        self._changed.add(changed)
        try:
            while True:
                kept = self._next(attempt)
                if kept is not None:
                    return kept
                changed.wait()
        finally:
            self._changed.remove(changed)

    def _next(self, attempt: "_Attempt") -> Kept | None:
        """Return an attempt's next request. None: another attempt has asked the source for it."""
        with self._lock:
            self._count(attempt.position)
            while True:
                if attempt not in self._live:
                    raise StopIteration
                place = attempt.position - self._dropped
                if place < len(self._kept):
                    attempt.position += 1
                    kept = self._kept[place]
                    self._drop()
                    return kept
                if self._error is not None:
                    raise self._error
                if self._ended:
                    raise StopIteration
                if self._asking:
                    return None
                self._ask()

    def _ask(self) -> None:
        """Take one request from the source, without the lock, which the caller holds once."""
        self._asking = True
        self._lock.release()
        taken: Kept | None = None
        error: BaseException | None = None
        try:
            taken = Kept(next(self._source))
        except StopIteration:
            pass
        except BaseException as raised:  # noqa: BLE001 (every attempt is to raise it)
            error = raised
        finally:
            self._lock.acquire()
            self._asking = False
        if taken is not None:
            self._kept.append(taken)
        else:
            self._ended, self._error = error is None, error
        self._changed.set()

    def _count(self, position: int) -> None:
        """Add up the bytes of what was serialized: all before the request that is asked for."""
        while self._counted < position:
            place = self._counted - self._dropped
            if 0 <= place < len(self._kept):
                self._size += len(self._kept[place].data or b"")
            self._counted += 1
        if self._size > self._limit:
            self._full = True

    def _drop(self) -> None:
        if not self._full and self._limit:
            return
        # With nothing to keep, the first stays until the second was asked for.
        slowest = min((attempt.position for attempt in self._live), default=0)
        if slowest > 1 or (self._full and slowest):
            gone = slowest - self._dropped
            if gone > 0:
                del self._kept[:gone]
                self._dropped = slowest


class _Attempt:
    """Goes through the requests."""

    __slots__ = ("_requests", "position")

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.position = 0

    def __iter__(self) -> "_Attempt":
        return self

    def __next__(self) -> Kept:
        return self._requests.next_for(self)


def _refusing(source: object) -> Iterator[object]:
    yield from ()
    raise TypeError(f"{source!r} is no iterator of requests")
