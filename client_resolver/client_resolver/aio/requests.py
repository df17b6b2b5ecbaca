"""The requests of a streaming RPC, so kept that more than one attempt can be given all of them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

from client_resolver.config.call_arguments import refuse_unless_bytes

__all__ = ["Reader", "Requests"]

Req = TypeVar("Req")


class Reader:
    """One attempt's way through the requests: the iterator that grpc is given."""

    __slots__ = ("_requests", "live", "position")

    def __init__(self, requests: "Requests[object]") -> None:
        self._requests = requests
        self.live = True
        self.position = 0

    def __aiter__(self) -> "Reader":
        return self

    async def __anext__(self) -> bytes:
        return await self._requests.read(self)


class Requests(Generic[Req]):
    """Serializes requests and hands them to one attempt after another, or to several at once.

    The first request is kept until a second one comes: grpc takes it before it knows of a
    connection. What comes then is kept as well until it is too much.

    Args:
        source: Where requests come from. None: from `write`.
        serializer: Makes bytes of a request. None: they are bytes.
        limit: How many bytes are kept in all, once there is a second request.
        shielded: An attempt may be cancelled while others go on: that must not reach the source.
    """

    def __init__(
        self,
        source: AsyncIterable[Req] | Iterable[Req] | None,
        serializer: Callable[[Req], bytes] | None = None,
        *,
        limit: int = 0,
        shielded: bool = False,
    ) -> None:
        if source is None or isinstance(source, AsyncIterable):
            self._source = None if source is None else aiter(source)
        else:
            self._source = _walk(source)
        self._serializer = serializer
        self._limit = limit
        self._shielded = shielded
        self._kept: list[bytes] = []
        self._dropped = 0
        self._size = 0
        self._full = False
        self._ended = False
        self._closed = False
        self._broken = False
        self._readers: list[Reader] = []
        self._pulling: asyncio.Future[Req] | None = None
        # An attempt that failed may still wait for the source: the next one must not as well.
        self._turn = asyncio.Lock()
        self._waiters: list[asyncio.Future[None]] = []
        self.filled: Callable[[], None] = _nothing
        """Called when requests can't be kept any more: no attempt but those that run can follow."""

    @property
    def repeatable(self) -> bool:
        """Whether another attempt can be given all requests."""
        return self._dropped == 0 and not self._full and not self._broken

    @property
    def written(self) -> bool:
        """Whether the requests come from `write`."""
        return self._source is None

    @property
    def broken(self) -> bool:
        """Whether the source or the serializer has failed."""
        return self._broken

    def attempt(self, *, beside: bool = False) -> Reader:
        """Begin an attempt. Unless it runs beside others, they get no more requests."""
        if not beside:
            for reader in self._readers:
                reader.live = False
            self._readers.clear()
        reader = Reader(self)  # type: ignore[arg-type]
        self._readers.append(reader)
        self._tell()
        return reader

    def commit(self, reader: Reader | None) -> None:
        """Keep nothing for other attempts than this one."""
        for other in self._readers:
            other.live = other is reader
        self._readers = [] if reader is None else [reader]
        self._full = True
        self._drop()

    async def read(self, reader: Reader) -> bytes:
        """Return a reader's next request.

        Raises:
            StopAsyncIteration: There is none.
        """
        while reader.live and reader.position == self._dropped + len(self._kept):
            if self._ended:
                raise StopAsyncIteration
            if self._source is None:
                await self._news()
            else:
                await self._pull(reader, self._source)
        if not reader.live:
            raise StopAsyncIteration
        message = self._kept[reader.position - self._dropped]
        reader.position += 1
        if self._full:
            self._drop()
        if self._waiters:
            self._tell()
        return message

    async def write(self, request: Req) -> None:
        """Add a request, and wait until an attempt has taken it or the RPC has ended."""
        self._append(request)
        place = self._dropped + len(self._kept)
        self._tell()
        while not self._closed and all(reader.position < place for reader in self._readers):
            await self._news()

    def end(self) -> None:
        """There are no more requests."""
        self._ended = True
        self._tell()

    def close(self) -> None:
        """Release everything: the RPC has ended."""
        self._closed = self._ended = True
        for reader in self._readers:
            reader.live = False
        # What refers to each other in a circle waits for the collector, and grpc's channel with it.
        self._readers.clear()
        self.filled = _nothing
        self._kept.clear()
        if self._pulling is not None:
            self._pulling.cancel()
        self._tell()

    async def _pull(self, reader: Reader, source: AsyncIterator[Req]) -> None:
        async with self._turn:
            if self._ended or reader.position < self._dropped + len(self._kept) or not reader.live:
                return
            try:
                request = await self._take(source)
                if not self._closed:
                    self._append(request)
            except StopAsyncIteration:
                self.end()
            except Exception:
                self._broken = True
                raise

    async def _take(self, source: AsyncIterator[Req]) -> Req:
        if not self._shielded:
            return await anext(source)
        if self._pulling is None:
            self._pulling = asyncio.ensure_future(anext(source))
        await asyncio.wait((self._pulling,))
        taken, self._pulling = self._pulling, None
        return taken.result()

    def _append(self, request: Req) -> None:
        serializer = self._serializer
        made: object = request if serializer is None else serializer(request)
        message = refuse_unless_bytes(made, "message")
        self._kept.append(message)
        # Of empty messages as well, there must be an end.
        self._size += len(message) + 1
        if not self._full and self._size > self._limit and len(self._kept) > 1:
            self._full = True
            self.filled()

    def _drop(self) -> None:
        least = min((reader.position for reader in self._readers), default=self._dropped)
        if least > self._dropped:
            del self._kept[: least - self._dropped]
            self._dropped = least

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


async def _walk(source: Iterable[Req]) -> AsyncIterator[Req]:
    for request in source:
        yield request


def _nothing() -> None:
    return
