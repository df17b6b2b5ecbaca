"""A backend's channel whose calls can be ended with a status, where there is a drain timeout.

grpc.aio ends calls with CANCELLED alone, which whoever awaits them can't tell from a cancellation
of his own task. A channel with no drain timeout has nothing of this.
"""

# The arguments are those of grpc, which has four kinds of call that have no type in common.
# ruff: noqa: ANN401, D102

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, TypeVar

import grpc

__all__ = ["DrainableCall", "DrainableChannel"]

T = TypeVar("T")


class DrainableCall:
    """A call of grpc's that may be ended with UNAVAILABLE.

    Args:
        inner: The call, of whatever kind.
        calls: The calls of its channel that haven't ended.
    """

    def __init__(self, inner: Any, calls: "set[DrainableCall]") -> None:
        self._inner = inner
        self._why: str | None = None
        calls.add(self)
        inner.add_done_callback(lambda _: calls.discard(self))

    def end(self, why: str) -> None:
        """End it with UNAVAILABLE, unless it has ended."""
        if not self._inner.done():
            self._why = why
            self._inner.cancel()

    async def _ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except asyncio.CancelledError:
            if self._why is None or _cancelling():
                raise
            raise await self._error() from None

    async def _error(self) -> grpc.aio.AioRpcError:
        initial, why = await self._inner.initial_metadata(), self._why
        return grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, initial, grpc.aio.Metadata(), why, why
        )

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._ask(self._response()).__await__()

    async def _response(self) -> Any:
        return await self._inner

    async def __aiter__(self) -> AsyncIterator[Any]:
        responses = aiter(self._inner)
        while True:
            try:
                response = await self._ask(anext(responses))
            except StopAsyncIteration:
                return
            yield response

    async def read(self) -> Any:
        return await self._ask(self._inner.read())

    async def write(self, request: Any) -> None:
        await self._ask(self._inner.write(request))

    async def done_writing(self) -> None:
        await self._ask(self._inner.done_writing())

    async def wait_for_connection(self) -> None:
        await self._ask(self._inner.wait_for_connection())

    async def initial_metadata(self) -> grpc.aio.Metadata:
        metadata: grpc.aio.Metadata = await self._inner.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        metadata: grpc.aio.Metadata = await self._inner.trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._inner.code()
        return code if self._why is None else grpc.StatusCode.UNAVAILABLE

    async def details(self) -> str:
        details: str = await self._inner.details()
        return details if self._why is None else self._why

    async def debug_error_string(self) -> str:
        text: str = await self._inner.debug_error_string()
        return text if self._why is None else self._why

    def cancel(self) -> bool:
        return bool(self._inner.cancel())

    def cancelled(self) -> bool:
        return self._why is None and bool(self._inner.cancelled())

    def done(self) -> bool:
        return bool(self._inner.done())

    def time_remaining(self) -> float | None:
        left: float | None = self._inner.time_remaining()
        return left

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._inner.add_done_callback(lambda _: callback(self))

    def __repr__(self) -> str:
        return repr(self._inner)


class DrainableChannel:
    """As much of a `grpc.aio.Channel` as this package uses of one to a backend.

    Args:
        channel: The channel itself.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._calls: set[DrainableCall] = set()
        self.get_state = channel.get_state
        self.wait_for_state_change = channel.wait_for_state_change
        self.close = channel.close

    def end_calls(self, why: str) -> None:
        """End the calls that it carries with UNAVAILABLE."""
        for call in list(self._calls):
            call.end(why)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., DrainableCall]:
        return self._drainable(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[..., DrainableCall]:
        return self._drainable(self._channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Callable[..., DrainableCall]:
        return self._drainable(self._channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Callable[..., DrainableCall]:
        return self._drainable(self._channel.stream_stream(*args, **kwargs))

    def _drainable(self, multicallable: Callable[..., Any]) -> Callable[..., DrainableCall]:
        return lambda *args, **kwargs: DrainableCall(multicallable(*args, **kwargs), self._calls)


def _cancelling() -> bool:
    """Whether the task that runs has been cancelled itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
