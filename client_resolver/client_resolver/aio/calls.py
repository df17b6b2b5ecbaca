"""What the application holds of an RPC: one class for each kind, in grpc.aio's own terms.

A call starts on a backend at once if one is ready: it is that connection's own call behind a
thin face. Only if that fails, or if there is no backend, or if several attempts may run at once, is
there a `Runner`, and then its outcome is what everything is asked of.
"""

# grpc has four kinds of call that have no type in common, and methods that it documents itself.
# ruff: noqa: ANN401, PLR0917

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, TypeVar

import grpc

from client_resolver.aio.connection import Backend, Connection, peek
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.aio.runner import NOTHING, Attempt, Runner, ended_call, status_of
from client_resolver.call.accounting import Rpc
from client_resolver.call.attempt import LOCALLY_CANCELLED, Status
from client_resolver.config.call_arguments import CallArguments, deadline_after
from client_resolver.core.replay import Evidence, weigh
from client_resolver.telemetry.dispatch import tell_each

__all__ = ["StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall", "UnaryUnaryCall"]

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")

_OK = grpc.StatusCode.OK
_MIXED = "The iterator and read/write APIs may not be mixed on a single RPC."
_FAILURES = (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError)
"""What awaiting one of grpc's calls raises at its end."""


class _Asked(grpc.aio.Call):
    """What can be asked of a call: `_inner` answers it, or what the runner has decided on."""

    # Most calls leave these as they are, so a call doesn't set them.
    _inner: Any = None
    """The connection's own call, if the first attempt was made at once."""
    _runner: Runner | None = None
    """Makes all other attempts."""
    _callbacks: tuple[Callable[[Any], None], ...] = ()
    _requests: Requests[Any] | None = None
    _cancelled = False
    _judged = False
    """It is known what follows the end of `_inner`."""
    _watched = False
    """Someone awaits `_inner`, and judges its end himself."""
    _why: str | None = None
    """Why the drain timeout has ended `_inner`."""
    _method: Method[Any]
    _backend: Backend

    def _judge(self, inner: Any) -> None:
        """Find out what follows the end of `_inner`, if that isn't known."""
        raise NotImplementedError

    def _holds(self, inner: Any) -> bool:
        """Whether a call of grpc's, which has answered or failed, is the one to be asked."""
        runner = self._runner
        if runner is None:
            if not inner.done():
                return True
            self._judge(inner)
            runner = self._runner
        return runner is None or runner.outcome is inner

    async def _asked(self) -> Any:
        """Wait for the call that everything is asked of, and return it."""
        return self._inner if self._runner is None else await self._runner.decided()

    async def _final(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        while True:
            inner = await self._asked()
            try:
                answer = await ask(inner)
            except _FAILURES:
                if self._holds(inner) or _cancelling():
                    raise
            else:
                if self._holds(inner):
                    return answer

    def cancel(self) -> bool:
        """See `grpc.aio.Call.cancel`."""
        if self.done():
            return False
        self._cancelled = True
        return bool(self._inner.cancel()) if self._runner is None else self._runner.cancel()

    def cancelled(self) -> bool:
        """See `grpc.aio.Call.cancelled`."""
        if not self.done():
            return False
        inner = self._inner if self._runner is None else self._runner.outcome
        return bool(inner.cancelled())

    def done(self) -> bool:
        """See `grpc.aio.Call.done`."""
        if self._runner is None:
            if not self._inner.done():
                return False
            self._judge(self._inner)
        return self._runner is None or self._runner.over

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        if self._runner is not None:
            return self._runner.left()
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
        """See `grpc.aio.Call.initial_metadata`. What there is of it is the RPC's answer."""
        while (runner := self._runner) is not None and runner.outcome is None:
            running = runner.machine.running
            if self._method.config.hedging is not None or not running:
                await runner.news()
                continue
            attempt = running[0]
            call: Any = attempt.call
            metadata: grpc.aio.Metadata = await call.initial_metadata()
            if attempt in running:
                if metadata:
                    runner.answered(attempt)
                return metadata
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
        return await self._final(lambda inner: inner.debug_error_string())

    async def wait_for_connection(self) -> None:
        """See `grpc.aio.Call.wait_for_connection`. Connected is what has a backend."""
        if self._runner is None:
            await self._final(lambda inner: inner.wait_for_connection())
            return
        runner = self._runner
        while runner.outcome is None and not runner.machine.running:
            await runner.news()
        if runner.over:
            await runner.outcome.wait_for_connection()

    def __repr__(self) -> str:
        state = f"at {self._backend.address}" if self._runner is None else repr(self._runner)
        return f"<{type(self).__name__} {self._method.path} {state}>"


class _Call(_Asked):
    """Base of the four kinds of call."""

    def __init__(
        self,
        method: Method[Any],
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        self._method = method
        # Most RPCs never need it as a record, which takes longer to make than all else here.
        self._given = (request, timeout, metadata, credentials, wait_for_ready, compression)
        backend = method.pick() if method.plain else None
        if backend is None:
            self._begin()
            return
        message = self._message() if method.streams_requests else method.serialized(request)
        self._put(backend, message, timeout, metadata, self._finished)

    @property
    def _arguments(self) -> CallArguments:
        """What the application has called the method with."""
        return CallArguments(*self._given)

    def _message(self) -> Any:
        """Return what grpc's call is given."""
        return self._method.serialized(self._arguments.request)

    def _put(
        self,
        backend: Backend,
        message: Any,
        timeout: float | None,
        metadata: Any,
        finished: Callable[[Any], None],
    ) -> None:
        """Make the first attempt. grpc calls `finished` at its end."""
        method = self._method
        _, _, _, credentials, _, compression = self._given
        channel = backend.handle.channel  # type: ignore[union-attr]
        bound = method.bound.get(channel) or method.bind(channel)
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
        self._inner = inner
        self._backend = backend
        self._channel = channel
        self._sent = message
        backend.in_flight.add(self)
        inner.add_done_callback(finished)

    def _begin(self) -> None:
        """Begin an RPC that is accounted for from the start."""
        method, arguments = self._method, self._arguments
        method.driver.start()
        rpc: Rpc[Connection] = Rpc(
            method.driver.rpcs, method.path, method.config, arguments.metadata, arguments.request
        )
        refused = rpc.enter()
        if refused is not None:
            self._judged = True
            self._inner = ended_call(Status(refused.code.value, rpc.explained(refused.details)))
            return
        try:
            self._start(rpc, deadline_after(rpc.began, method.config.bounded(arguments.timeout)))
        except BaseException:
            rpc.finish("CANCELLED")
            raise

    def _start(self, rpc: Rpc[Connection], deadline: float | None) -> None:
        """Make the first attempt of an RPC that is accounted for from the start."""
        self._runner = runner = self._make_runner(rpc, deadline, self._kept_request())
        runner.begin()

    def _make_runner(self, rpc: Rpc[Connection], deadline: float | None, request: Any) -> Runner:
        runner = Runner(self._method, self._arguments, rpc, deadline, request)
        runner.callbacks.append(self._tell)
        return runner

    def _kept_request(self) -> Any:
        return self._method.serialized(self._arguments.request)

    def _finished(self, inner: Any) -> None:
        # The connection's own call has ended.
        backend = self._backend
        backend.in_flight.discard(self)
        if backend.draining and not backend.in_flight:
            self._method.driver.drained(backend)
        if not self._watched:
            self._judge(inner)

    def drain(self, why: str) -> None:
        """End the call with UNAVAILABLE: its backend is gone, and its time is over."""
        if not self._inner.done():
            self._why = why
            self._inner.cancel()

    def _judge(self, inner: Any) -> None:
        if self._judged:
            return
        self._judged = True
        if self._why is not None or peek(inner.code()) is not _OK:
            self._failed(inner)
        if self._runner is None:
            self._tell()

    def _failed(self, inner: Any) -> None:
        """Leave to a runner what follows the failure of the first attempt, if anything does."""
        driver, backend = self._method.driver, self._backend
        status = status_of(inner, self._why)
        if not self._replaced(status):
            evidence = weigh(
                status.code,
                status.details,
                metadata=bool(status.initial or status.trailing),
                address=backend.endpoint.address,
            )
            if evidence is Evidence.NONE or not self._repeatable():
                if not self._cancelled:
                    rpcs = driver.rpcs
                    rpcs.failed(backend, status.code, status.details, status.trailing)
                return
        method, arguments, now = self._method, self._arguments, driver.rpcs.now()
        rpc: Rpc[Connection] = Rpc(
            driver.rpcs, method.path, method.config, arguments.metadata, arguments.request
        )
        final = rpc.enter() is not None or not self._repeatable()
        left = inner.time_remaining()
        deadline = None if left is None else now + left
        attempt: Attempt = rpc.resume(backend, now)
        self._go_on(rpc, attempt, deadline, final=final)

    def _go_on(
        self,
        rpc: Rpc[Connection],
        attempt: Attempt,
        deadline: float | None,
        *,
        final: bool = False,
    ) -> None:
        """Leave to a runner what follows the first attempt."""
        inner = self._inner
        attempt.call, attempt.connection = inner, self._channel
        self._runner = runner = self._make_runner(rpc, deadline, self._sent_request())
        # The task that awaits the call may have been cancelled, and grpc's call with it.
        cancelled = self._cancelled or peek(inner.details()) == LOCALLY_CANCELLED
        runner.machine.cancelled = cancelled and self._why is None
        runner.resume(attempt, self._why, final=final)

    def _sent_request(self) -> Any:
        return self._sent

    def _replaced(self, status: Status) -> bool:  # noqa: ARG002
        """Whether a call of grpc's does not say itself how it ended."""
        return self._why is not None

    def _repeatable(self) -> bool:
        if self._cancelled or self._why is not None or self._method.driver.closed:
            return False
        return self._requests is None or self._requests.repeatable

    def _tell(self) -> None:
        if self._callbacks:
            callbacks, self._callbacks = self._callbacks, ()
            tell_each(callbacks, self)


class _UnaryResponse(_Call):
    def __await__(self) -> Generator[Any, None, Any]:
        if self._runner is None:
            inner = self._inner
            if not self._callbacks:
                self._watched = True
            try:
                response: Any = yield from inner.__await__()
            except _FAILURES:
                if self._holds(inner) or _cancelling():
                    raise
            else:
                return response
        response = yield from self._response().__await__()
        return response

    async def _response(self) -> Any:
        try:
            await self._asked()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return await self._final(lambda inner: inner)


class _StreamResponse(_Call):
    _received = False
    _reads = False
    _responses: AsyncIterator[Any] | None = None

    def _repeatable(self) -> bool:
        return not self._received and super()._repeatable()

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._reads:
            raise grpc.aio.UsageError(_MIXED)
        if self._responses is None:
            self._responses = self._iterate()
        return self._responses

    async def _iterate(self) -> AsyncIterator[Any]:
        if self._runner is None:
            inner = self._inner
            try:
                async for response in inner:
                    self._received = True
                    yield response
            except _FAILURES:
                if self._holds(inner) or _cancelling():
                    raise
            else:
                return
        while (response := await self._next()) is not grpc.aio.EOF:
            yield response

    async def read(self) -> Any:
        """See `grpc.aio.UnaryStreamCall.read`."""
        if self._responses is not None and not self.done():
            raise grpc.aio.UsageError(_MIXED)
        self._reads = True
        response = await self._next()
        self._received = True
        return response

    async def _next(self) -> Any:
        runner = self._runner
        if runner is not None:
            try:
                await runner.decided()
            except asyncio.CancelledError:
                self.cancel()
                raise
            if runner.first is not NOTHING:
                response, runner.first = runner.first, NOTHING
                return response
        while True:
            inner = await self._asked()
            try:
                response = await inner.read()
            except _FAILURES:
                if self._holds(inner) or _cancelling():
                    raise
                return await self._next()
            return response


class _StreamRequest(_Call):
    _written = False
    _begun = False
    """Something was written, or was to be."""
    _ended = False
    # grpc's own intercepted calls look at this name on the calls that they are given.
    _done_writing_flag = False

    def _message(self) -> Any:
        if self._arguments.request is None:
            return None
        self._requests = self._method.requests(self._arguments.request)
        return self._requests.attempt()

    def _kept_request(self) -> Any:
        self._requests = requests = self._method.requests(self._arguments.request)
        return requests

    def _sent_request(self) -> Any:
        if self._requests is None:
            self._requests = self._method.requests(None)
        return self._requests

    def _finished(self, inner: Any) -> None:
        # A request that could not be sent any more ends the call a second time.
        if not self._ended:
            self._ended = True
            super()._finished(inner)
            self._judge(inner)

    def _replaced(self, status: Status) -> bool:
        # A request that can't be sent any more may overwrite what grpc's call says.
        return status.code != "CANCELLED" or super()._replaced(status)

    def _repeatable(self) -> bool:
        return not self._written and super()._repeatable()

    async def write(self, request: Any) -> None:
        """See `grpc.aio.StreamUnaryCall.write`."""
        if self._runner is not None:
            await self._write_kept(request)
            return
        if self._requests is not None:
            raise grpc.aio.UsageError(_MIXED)
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        inner, serializer = self._inner, self._method.serializer
        message = request if serializer is None else serializer(request)
        try:
            await inner.write(message)
        except _FAILURES:
            if self._holds(inner) or _cancelling():
                raise
        if not self._holds(inner):
            # No server took the call up: what was written goes to another backend.
            await (self._raise_failure() if self.done() else self._write_kept(request))
        self._written = True

    async def _write_kept(self, request: Any) -> None:
        requests = self._kept()
        begun, self._begun = self._begun, True
        if self.done():
            if not (begun or self._cancelled or self._done_writing_flag):
                # grpc's own call would have failed while this was waiting for a connection.
                await self._raise_failure()
            raise asyncio.InvalidStateError("RPC already finished.")
        if self._done_writing_flag:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        try:
            await requests.write(request)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.done():
            await self._raise_failure()

    async def _raise_failure(self) -> None:
        """Raise what the RPC has failed with, if it has."""
        if self._cancelled:
            raise asyncio.CancelledError
        code = await self.code()
        if code is not _OK:
            raise grpc.aio.AioRpcError(
                code,
                await self.initial_metadata(),
                await self.trailing_metadata(),
                await self.details(),
                await self.debug_error_string(),
            )

    async def done_writing(self) -> None:
        """See `grpc.aio.StreamUnaryCall.done_writing`."""
        self._done_writing_flag = True
        if self._runner is None:
            inner = self._inner
            try:
                await inner.done_writing()
            except _FAILURES:
                if self._holds(inner) or _cancelling():
                    raise
            self._written = True
            if self._holds(inner):
                return
        self._kept().end()

    def _kept(self) -> Requests[Any]:
        requests = self._requests
        if requests is None or not requests.written:
            raise grpc.aio.UsageError(_MIXED)
        return requests


class UnaryUnaryCall(_UnaryResponse, grpc.aio.UnaryUnaryCall[Req, Res]):
    """A call with one request and one response.

    The first attempt is made at once also where more is wanted of an RPC than a pick: most RPCs
    need nothing but to be accounted for at their end.
    """

    _began = 0.0
    _accounts = False
    """Its end must be reported, whatever it is."""
    _deadline: float | None = None
    _rpc: Rpc[Connection] | None = None
    _attempt: Attempt

    def _begin(self) -> None:
        method, arguments = self._method, self._arguments
        rpcs, backend = method.driver.rpcs, None
        if method.light:
            key = 0
            if rpcs.keyed:
                key = rpcs.key(method.path, arguments.metadata, arguments.request)
            backend = method.pick(key)
        if backend is None:
            super()._begin()
            return
        timeout = arguments.timeout
        if method.config.timeout is not None:
            timeout = method.config.bounded(timeout)
        self._accounts = True
        self._began = began = rpcs.now()
        if timeout is not None:
            self._deadline = deadline_after(began, timeout)
        try:
            self._put(backend, self._message(), timeout, arguments.metadata, self._accounted)
        except BaseException:
            rpcs.tell_end(method.path, backend, "INTERNAL", 0.0)
            raise

    def _start(self, rpc: Rpc[Connection], deadline: float | None) -> None:
        method = self._method
        backend = method.driver.pick_for(rpc) if method.config.hedging is None else None
        if backend is None:
            super()._start(rpc, deadline)
            return
        self._accounts = True
        self._rpc, self._deadline = rpc, deadline
        self._attempt = attempt = rpc.begin(backend)
        retry = method.config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        attempt.bound(None if deadline is None else deadline - attempt.began, limit)
        try:
            self._put(backend, self._message(), attempt.timeout, rpc.metadata, self._accounted)
        except BaseException:
            rpc.end(attempt, "INTERNAL", ours=True)
            raise

    def _accounted(self, inner: Any) -> None:
        # The connection's own call has ended, and that must be reported.
        backend, method = self._backend, self._method
        backend.in_flight.discard(self)
        if backend.draining and not backend.in_flight:
            method.driver.drained(backend)
        self._judged = True
        if self._why is not None or peek(inner.code()) is not _OK:
            self._failed(inner)
            return
        rpc = self._rpc
        if rpc is None:
            rpcs = method.driver.rpcs
            rpcs.succeeded(method.path, method.config, backend, self._began)
        else:
            trailing = peek(inner.trailing_metadata()) if rpc.wants_trailing else None
            rpc.end(self._attempt, "OK", trailing)
            rpc.succeeded()
            rpc.finish("OK")
        self._tell()

    def _failed(self, inner: Any) -> None:
        if not self._accounts:
            super()._failed(inner)
            return
        rpc = self._rpc
        if rpc is None:
            method, arguments = self._method, self._arguments
            rpcs = method.driver.rpcs
            rpc = Rpc(rpcs, method.path, method.config, arguments.metadata, arguments.request)
            rpc.enter()
            self._attempt = rpc.resume(self._backend, self._began)
        self._go_on(rpc, self._attempt, self._deadline)

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        if self._runner is not None or (not self._accounts):
            return super().time_remaining()
        deadline = self._deadline
        return None if deadline is None else max(0.0, deadline - self._method.driver.rpcs.now())


class UnaryStreamCall(_StreamResponse, grpc.aio.UnaryStreamCall[Req, Res]):
    """A call with one request and a stream of responses."""


class StreamUnaryCall(_StreamRequest, _UnaryResponse, grpc.aio.StreamUnaryCall[Req, Res]):
    """A call with a stream of requests and one response."""


class StreamStreamCall(_StreamRequest, _StreamResponse, grpc.aio.StreamStreamCall[Req, Res]):
    """A call with a stream of requests and a stream of responses."""


def _cancelling() -> bool:
    """Whether the task that runs has been cancelled itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
