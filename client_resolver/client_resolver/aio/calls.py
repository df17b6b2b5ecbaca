"""Calls on a backend that was ready when they were made: the fast path.

Such a call is the backend channel's own call behind a thin face. Only if a server never took it up
is a call that may take several attempts (`client_resolver.aio.managed`) put in its place.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, ClassVar, TypeVar

import grpc

from client_resolver.aio import managed
from client_resolver.aio.attempt import Failed, evidence_of
from client_resolver.aio.connection import Backend, peek
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.core.replay import Evidence
from client_resolver.telemetry.dispatch import tell_each

__all__ = ["StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall", "UnaryUnaryCall"]

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")

_OK = grpc.StatusCode.OK
_SUSPECT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The codes of what a server may never have taken up."""


class PickedCall(grpc.aio.Call):
    """What the four kinds of call have in common.

    `_inner` is the call that everything is asked of: one of grpc's or a `ManagedCall`, which have
    no type in common that has all of it.
    """

    _instead: ClassVar[type[managed.ManagedCall]]
    """What a call of the kind is replaced by."""

    # Most calls leave these as they are, so a call doesn't set them.
    _callbacks: tuple[Callable[[Any], None], ...] = ()
    _cancelled = False
    _judged = False
    """No other call will be put in the place of this one."""
    _watched = False
    """Someone awaits the outcome, and will judge it."""

    def __init__(
        self,
        method: Method[Any],
        backend: Backend,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        channel = backend.handle.channel  # type: ignore[union-attr]
        bound = method.bound.get(channel) or method.bind(channel)
        message = request if method.streams_requests else method.serialized(request)
        if metadata is None and credentials is None and compression is None:
            inner = bound(message, timeout=timeout)
        else:
            inner = bound(
                message,
                timeout=timeout,
                metadata=metadata,
                credentials=credentials,
                compression=compression,
            )
        self._inner: Any = inner
        self._backend = backend
        self._method = method
        self._message = message
        self._arguments = (request, metadata, credentials, wait_for_ready, compression, channel)
        backend.in_flight.add(object())
        inner.add_done_callback(self._finished)

    def _finished(self, inner: Any) -> None:
        backend = self._backend
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            self._method.driver.drained(backend)
        if not self._watched:
            self._is_final(inner)

    def _instead_ended(self, instead: Any) -> None:
        self._is_final(instead)

    def _is_final(self, inner: Any) -> bool:
        """Judge a call that has ended. Return whether it is the outcome."""
        if self._inner is not inner:
            return False
        if not self._judged:
            self._judged = True
            if self._replaced(inner):
                return False
        if self._callbacks:
            callbacks, self._callbacks = self._callbacks, ()
            tell_each(callbacks, self)
        return True

    def _repeatable(self) -> bool:
        return not self._cancelled and not self._method.driver.closed

    def _replaced(self, inner: Any) -> bool:
        """Put another call in the place of one that was perhaps never taken up."""
        code = peek(inner.code())
        if code is None or code is _OK:
            return False
        if (
            code in _SUSPECT
            and self._repeatable()
            and evidence_of(code, inner, self._backend) is not Evidence.NONE
        ):
            self._replace(inner)
            return True
        if not self._cancelled:
            details, trailing = peek(inner.details()) or "", peek(inner.trailing_metadata()) or ()
            self._method.driver.rpcs.failed(self._backend, code.name, details, trailing)
        return False

    def _replace(self, inner: Any, *, final: bool = False) -> None:
        request, metadata, credentials, wait_for_ready, compression, channel = self._arguments
        self._inner = instead = self._instead(
            self._method,
            request,
            inner.time_remaining(),
            metadata,
            credentials,
            wait_for_ready,
            compression,
            then=Failed(inner, self._backend, channel, self._message, final=final),
        )
        instead.add_done_callback(self._instead_ended)

    async def _final(self, ask: Callable[[Any], Coroutine[object, object, T]]) -> T:
        while True:
            inner = self._inner
            try:
                answer = await ask(inner)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                if not inner.done() or self._is_final(inner):
                    raise
            else:
                if not inner.done() or self._is_final(inner):
                    return answer

    def cancel(self) -> bool:
        """See `grpc.aio.Call.cancel`."""
        if self.done():
            return False
        self._cancelled = True
        return bool(self._inner.cancel())

    def cancelled(self) -> bool:
        """See `grpc.aio.Call.cancelled`."""
        return self.done() and bool(self._inner.cancelled())

    def done(self) -> bool:
        """See `grpc.aio.Call.done`."""
        inner = self._inner
        return inner.done() and self._is_final(inner)

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        left: float | None = self._inner.time_remaining()
        return left

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """See `grpc.aio.Call.add_done_callback`."""
        if self.done():
            callback(self)
        else:
            self._watched = False
            self._callbacks += (callback,)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """See `grpc.aio.Call.initial_metadata`."""
        return await self._final(lambda inner: inner.initial_metadata())

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """See `grpc.aio.Call.trailing_metadata`."""
        return await self._final(lambda inner: inner.trailing_metadata())

    async def code(self) -> grpc.StatusCode:
        """See `grpc.aio.Call.code`."""
        return await self._final(lambda inner: inner.code())

    async def details(self) -> str:
        """See `grpc.aio.Call.details`."""
        return await self._final(lambda inner: inner.details())

    async def debug_error_string(self) -> str:
        """Return what C-core says of a failure."""
        text: str = await self._final(lambda inner: inner.debug_error_string())
        return text

    async def wait_for_connection(self) -> None:
        """See `grpc.aio.Call.wait_for_connection`."""
        await self._final(lambda inner: inner.wait_for_connection())

    def __repr__(self) -> str:
        at = self._backend.address
        return f"<{type(self).__name__} {self._method.path} at {at}: {self._inner!r}>"


class _UnaryResponse(PickedCall):
    def __await__(self) -> Generator[None, None, Any]:
        inner = self._inner
        if not self._callbacks:
            self._watched = True
        while True:
            try:
                response: Any = yield from inner.__await__()
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
                inner = self._inner
            else:
                return response


class _StreamResponse(PickedCall):
    _received = False
    _responses: AsyncIterator[Any] | None = None

    def _repeatable(self) -> bool:
        return not self._received and super()._repeatable()

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._responses is None:
            # It refuses to be mixed with `read`, from this call on.
            aiter(self._inner)
            self._responses = self._iterate()
        return self._responses

    async def _iterate(self) -> AsyncIterator[Any]:
        while True:
            inner = self._inner
            try:
                async for response in inner:
                    self._received = True
                    yield response
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
            else:
                return

    async def read(self) -> Any:
        """See `grpc.aio.UnaryStreamCall.read`."""
        while True:
            inner = self._inner
            try:
                response: Any = await inner.read()
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
            else:
                self._received = True
                return response


class _StreamRequest(PickedCall):
    _requests: Requests[Any] | None = None
    _written = False
    _ended = False
    # grpc's own intercepted calls look at this name on the calls that they are given.
    _done_writing_flag = False

    def __init__(
        self,
        method: Method[Any],
        backend: Backend,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        first = None
        if request is not None:
            self._requests = method.requests(request)
            first = self._requests.attempt()
        super().__init__(
            method, backend, first, timeout, metadata, credentials, wait_for_ready, compression
        )
        self._arguments = (self._requests, *self._arguments[1:])

    def _finished(self, inner: Any) -> None:
        # A request that could not be sent any more ends the call a second time.
        if not self._ended:
            self._ended = True
            super()._finished(inner)
            self._is_final(inner)

    def _replaced(self, inner: Any) -> bool:
        if peek(inner.code()) in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}:
            return super()._replaced(inner)
        # A request that can't be sent any more may overwrite what grpc's call says.
        self._replace(inner, final=not self._repeatable())
        return True

    def _repeatable(self) -> bool:
        if self._written or (self._requests is not None and not self._requests.repeatable):
            return False
        return super()._repeatable()

    async def write(self, request: Any) -> None:
        """See `grpc.aio.StreamUnaryCall.write`."""
        if self._requests is not None:
            raise grpc.aio.UsageError(managed.MIXED)
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        serializer = self._method.serializer
        message = request if serializer is None else serializer(request)

        def write(inner: Any) -> Coroutine[object, object, None]:
            if not isinstance(inner, managed.StreamRequestCall):
                written: Coroutine[object, object, None] = inner.write(message)
                return written
            return inner.raise_failure() if inner.done() else inner.write(request)

        await self._final(write)
        self._written = True

    async def done_writing(self) -> None:
        """See `grpc.aio.StreamUnaryCall.done_writing`."""
        self._done_writing_flag = True
        await self._final(lambda inner: inner.done_writing())
        self._written = True


class UnaryUnaryCall(_UnaryResponse, grpc.aio.UnaryUnaryCall[Req, Res]):
    """A call with one request and one response."""

    _instead = managed.UnaryUnaryCall


class UnaryStreamCall(_StreamResponse, grpc.aio.UnaryStreamCall[Req, Res]):
    """A call with one request and a stream of responses."""

    _instead = managed.UnaryStreamCall


class StreamUnaryCall(_StreamRequest, _UnaryResponse, grpc.aio.StreamUnaryCall[Req, Res]):
    """A call with a stream of requests and one response."""

    _instead = managed.StreamUnaryCall


class StreamStreamCall(_StreamRequest, _StreamResponse, grpc.aio.StreamStreamCall[Req, Res]):
    """A call with a stream of requests and a stream of responses."""

    _instead = managed.StreamStreamCall
