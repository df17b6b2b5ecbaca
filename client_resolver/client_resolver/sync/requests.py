"""The requests of a streaming RPC, so kept that an attempt which was never sent can be repeated."""

import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Requests"]

Req = TypeVar("Req")


class Requests(Generic[Req]):
    """Hands an iterator of requests to one attempt after another.

    grpc takes the first request from the iterator before it knows of a connection, so the first is
    kept. From the second on there is no other attempt.
    """

    def __init__(self, source: Iterable[Req]) -> None:
        self._source = iter(source)
        self._attempt = 0
        self._kept: list[Req] = []
        self._dropped = 0
        # An attempt that failed may still wait for the source: the next one must not as well.
        self._turn = threading.Lock()

    @property
    def repeatable(self) -> bool:
        """Whether another attempt can be given all requests."""
        return self._dropped == 0

    def attempt(self) -> Iterator[Req]:
        """Begin an attempt. The one before it gets no more requests."""
        self._attempt += 1
        return self._hand_out(self._attempt)

    def _hand_out(self, attempt: int) -> Iterator[Req]:
        position = 0
        while True:
            with self._turn:
                if attempt != self._attempt:
                    return
                if position == self._dropped + len(self._kept):
                    try:
                        self._kept.append(next(self._source))
                    except StopIteration:
                        return
                    if attempt != self._attempt:
                        return
                request = self._kept[position - self._dropped]
                position += 1
                if position > 1:
                    self._dropped = position
                    self._kept.clear()
            yield request
