"""Calls that pick their backend.

A call is put on a ready backend at once where there is one: it is then the backend channel's own
call behind a thin face. Otherwise a task waits for one. The same task tries another backend when an
attempt was never taken up by a server.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import grpc

from client_resolver.aio.connection import Backend
from client_resolver.aio.ended import EndedCall
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.core.replay import Evidence, weigh

__all__ = ["StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall", "UnaryUnaryCall"]

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")
C = TypeVar("C", bound=grpc.aio.Call)

_OK = grpc.StatusCode.OK
_SECOND_LOOKS = (0.001, 0.004, 0.015)
"""Seconds between looks at a connection that should turn out to be gone: a server's GOAWAY may come
after the RPCs that it turned away."""


class PickedCall(Generic[C], grpc.aio.Call):  # noqa: PYI059
    """What the four kinds of call have in common.

    `_inner` is the call that everything is asked of: a `C` or an `EndedCall`, which have no type in
    common that has all of it. It is None while `_task` looks for one.
    """

    # Most calls leave these as they are, so a call doesn't set them.
    _backend: Backend | None = None
    _callbacks: tuple[Callable[["PickedCall[C]"], None], ...] = ()
    _cancelled = False
    _deadline: float | None = None
    _final_inner: Any = None
    _inner: Any = None
    _task: asyncio.Task[None] | None = None
    _watched = False
    """Someone awaits the outcome, and will judge it."""

    def __init__(
        self,
        method: Method[C],
        request: object,
        timeout: float | None,
        metadata: object,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        driver = method.driver
        loop = driver.loop or driver.start()
        if method.timeout is not None:
            timeout = method.timeout if timeout is None else min(timeout, method.timeout)
        if timeout is not None:
            self._deadline = loop.time() + timeout
        self._method = method
        self._arguments = (request, metadata, credentials, wait_for_ready, compression)
        backend = driver.pick()
        if backend is not None:
            self._start(backend, timeout)
        elif not self._fail_fast():
            self._task = driver.search(self._acquire())

    def _argument(self) -> object:
        return self._arguments[0]

    def _repeatable(self) -> bool:
        return True

    def _start(self, backend: Backend, timeout: float | None) -> None:
        connection = backend.handle
        assert connection is not None  # noqa: S101
        _, metadata, credentials, _, compression = self._arguments
        # The backend's own channel never waits: another backend may be ready before this one is.
        inner = self._method.on(connection)(
            self._argument(),
            timeout=timeout,
            metadata=metadata,
            credentials=credentials,
            wait_for_ready=False,
            compression=compression,
        )
        self._inner = inner
        self._backend = backend
        backend.in_flight.append(None)
        inner.add_done_callback(self._finished)

    def _fail_fast(self) -> bool:
        failure = self._method.driver.failure()
        if failure is None or self._waits_for_ready():
            return False
        self._end(grpc.StatusCode[failure.code.value], failure.details)
        return True

    def _waits_for_ready(self) -> bool:
        asked = self._arguments[3]
        return bool(self._method.wait_for_ready if asked is None else asked)

    async def _acquire(self) -> None:
        driver = self._method.driver
        while not driver.closed:
            left = self._left()
            if left is not None and left <= 0:
                why = f"the deadline passed while waiting for {driver.outlook.waiting}"
                self._end(grpc.StatusCode.DEADLINE_EXCEEDED, why)
                return
            backend = driver.pick()
            if backend is not None:
                try:
                    self._start(backend, left)
                except (TypeError, ValueError, grpc.aio.BaseError) as error:
                    self._end(grpc.StatusCode.INTERNAL, f"the call could not be made: {error}")
                return
            if self._fail_fast():
                return
            await driver.changed(left)
        self._settle(EndedCall(grpc.StatusCode.CANCELLED, "Channel is closed.", locally=True))

    def _finished(self, inner: Any) -> None:
        backend = self._backend
        assert backend is not None  # noqa: S101
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            self._method.driver.drained()
        if self._callbacks or not self._watched:
            self._is_final(inner)

    def _is_final(self, inner: Any) -> bool:
        """Judge an attempt that has ended. Return whether it is the call's outcome."""
        if self._final_inner is inner:
            return True
        if self._inner is not inner or self._repeats(inner):
            return False
        self._settle(inner)
        return True

    def _settle(self, inner: Any) -> None:
        self._inner = self._final_inner = inner
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback(self)

    def _repeats(self, inner: Any) -> bool:
        code = _peek(inner.code())
        if code is _OK or code is None:
            return False
        driver, backend = self._method.driver, self._backend
        if self._cancelled or driver.closed or backend is None or not self._repeatable():
            return False
        details = _peek(inner.details()) or ""
        evidence = weigh(
            code.name,
            details,
            metadata=bool(_peek(inner.initial_metadata()) or _peek(inner.trailing_metadata())),
            address=backend.endpoint.address,
        )
        if evidence is Evidence.NONE:
            return False
        if evidence is Evidence.UNSENT:
            backend.last_error = details
        if not driver.is_ready(backend):
            search = self._acquire()
        elif evidence is Evidence.TURNED_AWAY:
            search = self._reconsider(inner, backend)
        else:
            return False
        self._inner = None
        self._task = driver.search(search)
        return True

    async def _reconsider(self, inner: Any, backend: Backend) -> None:
        for pause in _SECOND_LOOKS:
            await asyncio.sleep(pause)
            if not self._method.driver.is_ready(backend):
                await self._acquire()
                return
        self._settle(inner)

    def _end(self, code: grpc.StatusCode, reason: str) -> None:
        self._settle(EndedCall(code, self._method.driver.settings.explain(reason)))

    def _left(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def _settled(self) -> Any:
        while self._inner is None:
            assert self._task is not None  # noqa: S101
            await asyncio.wait((self._task,))
        return self._inner

    async def _final(self, ask: Callable[[Any], Coroutine[object, object, T]]) -> T:
        while True:
            inner = await self._settled()
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
        if self._inner is not None:
            return bool(self._inner.cancel())
        if self._task is not None:
            self._task.cancel()
        text = "Locally cancelled by application!"
        self._settle(EndedCall(grpc.StatusCode.CANCELLED, text, locally=True))
        return True

    def cancelled(self) -> bool:
        """See `grpc.aio.Call.cancelled`."""
        return self.done() and self._inner is not None and self._inner.cancelled()

    def done(self) -> bool:
        """See `grpc.aio.Call.done`."""
        inner = self._inner
        return inner is not None and inner.done() and self._is_final(inner)

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        return self._left()

    def add_done_callback(self, callback: Callable[["PickedCall[C]"], None]) -> None:
        """See `grpc.aio.Call.add_done_callback`."""
        if self.done():
            callback(self)
        else:
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
        """See `grpc.aio.AioRpcError.debug_error_string`."""
        text: str = await self._final(lambda inner: inner.debug_error_string())
        return text

    async def wait_for_connection(self) -> None:
        """See `grpc.aio.Call.wait_for_connection`."""
        await self._final(lambda inner: inner.wait_for_connection())

    def __repr__(self) -> str:
        inner = self._inner
        if inner is None:
            return f"<{type(self).__name__} {self._method.path}, waiting for a backend>"
        backend = "" if self._backend is None else f" at {self._backend.address}"
        return f"<{type(self).__name__} {self._method.path}{backend}: {inner!r}>"


class _UnaryResponse(PickedCall[C], Generic[C, Res]):
    def __await__(self) -> Generator[None, None, Res]:
        self._watched = True
        while True:
            inner = self._inner
            if inner is None:
                try:
                    yield from self._settled().__await__()
                except asyncio.CancelledError:
                    self.cancel()
                    raise
                continue
            try:
                response: Res = yield from inner.__await__()
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
            else:
                return response


class _StreamResponse(PickedCall[C], Generic[C, Res]):
    _received = False
    _responses: AsyncIterator[Res] | None = None

    def _repeatable(self) -> bool:
        return not self._received and super()._repeatable()

    def __aiter__(self) -> AsyncIterator[Res]:
        if self._responses is None:
            self._responses = self._iterate()
        return self._responses

    async def _iterate(self) -> AsyncIterator[Res]:
        while True:
            inner = await self._settled_or_cancelled()
            try:
                async for response in inner:
                    self._received = True
                    yield response
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
            else:
                return

    async def read(self) -> Res:
        """See `grpc.aio.UnaryStreamCall.read`."""
        while True:
            inner = await self._settled_or_cancelled()
            try:
                response: Res = await inner.read()
            except grpc.aio.AioRpcError:
                if self._is_final(inner):
                    raise
            else:
                self._received = True
                return response

    async def _settled_or_cancelled(self) -> Any:
        try:
            return await self._settled()
        except asyncio.CancelledError:
            self.cancel()
            raise


class _StreamRequest(PickedCall[C], Generic[C, Req]):
    _requests: Requests[Req] | None = None
    _written = False
    # grpc's own intercepted calls look at this name on the calls that they are given.
    _done_writing_flag = False

    def _argument(self) -> object:
        source: Any = self._arguments[0]
        if source is None:
            return None
        if self._requests is None:
            self._requests = Requests(source)
        return self._requests.attempt()

    def _repeatable(self) -> bool:
        if self._written or (self._requests is not None and not self._requests.repeatable):
            return False
        return super()._repeatable()

    async def write(self, request: Req) -> None:
        """See `grpc.aio.StreamUnaryCall.write`."""
        await self._final(lambda inner: inner.write(request))
        self._written = True

    async def done_writing(self) -> None:
        """See `grpc.aio.StreamUnaryCall.done_writing`."""
        self._done_writing_flag = True
        await self._final(lambda inner: inner.done_writing())
        self._written = True


class UnaryUnaryCall(
    _UnaryResponse[grpc.aio.UnaryUnaryCall[Req, Res], Res], grpc.aio.UnaryUnaryCall[Req, Res]
):
    """A call with one request and one response."""


class UnaryStreamCall(
    _StreamResponse[grpc.aio.UnaryStreamCall[Req, Res], Res], grpc.aio.UnaryStreamCall[Req, Res]
):
    """A call with one request and a stream of responses."""


class StreamUnaryCall(
    _StreamRequest[grpc.aio.StreamUnaryCall[Req, Res], Req],
    _UnaryResponse[grpc.aio.StreamUnaryCall[Req, Res], Res],
    grpc.aio.StreamUnaryCall[Req, Res],
):
    """A call with a stream of requests and one response."""


class StreamStreamCall(
    _StreamRequest[grpc.aio.StreamStreamCall[Req, Res], Req],
    _StreamResponse[grpc.aio.StreamStreamCall[Req, Res], Res],
    grpc.aio.StreamStreamCall[Req, Res],
):
    """A call with a stream of requests and a stream of responses."""


def _peek(coroutine: Coroutine[object, None, T]) -> T | None:
    """Return what a coroutine that needn't wait returns. None: it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    return None
