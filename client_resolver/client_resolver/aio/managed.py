"""Calls that may take several attempts: what the application holds of an `Attempts`."""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, TypeVar

import grpc

from client_resolver.aio.attempt import Failed
from client_resolver.aio.attempts import NOTHING, Attempts
from client_resolver.aio.connection import Connection
from client_resolver.aio.hedging import HedgedAttempts
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.call.accounting import Rpc
from client_resolver.core.model import Failure

__all__ = [
    "MIXED",
    "ManagedCall",
    "StreamRequestCall",
    "StreamStreamCall",
    "StreamUnaryCall",
    "UnaryStreamCall",
    "UnaryUnaryCall",
]

Req = TypeVar("Req")
Res = TypeVar("Res")

MIXED = "The iterator and read/write APIs may not be mixed on a single RPC."


class ManagedCall(grpc.aio.Call):
    """What the four kinds of call have in common.

    Args:
        method: The method.
        request: The request, or where the requests come from.
        timeout: The application's bound in seconds. None: none.
        metadata: The RPC's metadata.
        credentials: Its call credentials.
        wait_for_ready: As the application has it.
        compression: Its compression.
        rpc: What is known of the RPC already, which is counted in then. None: nothing.
        then: An attempt that has failed, or why the RPC is refused. None: neither.
    """

    def __init__(
        self,
        method: Method[Any],
        request: Any,
        timeout: float | None,
        metadata: object,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
        rpc: Rpc[Connection] | None = None,
        then: Failed | Failure | None = None,
    ) -> None:
        if rpc is None and then is None:
            method.driver.start()
        if method.streams_requests and not isinstance(request, Requests):
            request = method.requests(request)
        make = Attempts if method.config.hedging is None else HedgedAttempts
        self._attempts = make(
            method, request, timeout, metadata, credentials, wait_for_ready, compression, rpc
        )
        if isinstance(then, Failed):
            self._attempts.resume(then)
        elif then is not None:
            self._attempts.refuse(then)
        elif rpc is not None:
            self._attempts.go_on()
        else:
            self._attempts.begin()

    async def _outcome(self) -> Any:
        attempts = self._attempts
        while attempts.outcome is None:
            await attempts.news()
        return attempts.outcome

    async def _outcome_or_cancel(self) -> Any:
        try:
            return await self._outcome()
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> bool:
        """See `grpc.aio.Call.cancel`."""
        return self._attempts.cancel()

    def cancelled(self) -> bool:
        """See `grpc.aio.Call.cancelled`."""
        attempts = self._attempts
        return attempts.ended and bool(attempts.outcome.cancelled())

    def done(self) -> bool:
        """See `grpc.aio.Call.done`."""
        return self._attempts.ended

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        return self._attempts.left()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """See `grpc.aio.Call.add_done_callback`."""
        if self._attempts.ended:
            callback(self)
        else:
            self._attempts.callbacks.append(lambda: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """See `grpc.aio.Call.initial_metadata`."""
        attempts = self._attempts
        while attempts.outcome is None:
            if attempts.rpc.hedges is not None or not attempts.running:
                await attempts.news()
                continue
            attempt = attempts.running[0]
            metadata: grpc.aio.Metadata = await attempt.inner.initial_metadata()
            if attempt in attempts.running and not attempt.lost:
                if metadata:
                    attempts.commit(attempt)
                return metadata
        outcome: grpc.aio.Metadata = await attempts.outcome.initial_metadata()
        return outcome

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """See `grpc.aio.Call.trailing_metadata`."""
        metadata: grpc.aio.Metadata = await (await self._outcome()).trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        """See `grpc.aio.Call.code`."""
        code: grpc.StatusCode = await (await self._outcome()).code()
        return code

    async def details(self) -> str:
        """See `grpc.aio.Call.details`."""
        details: str = await (await self._outcome()).details()
        return details

    async def debug_error_string(self) -> str:
        """Return what C-core says of a failure."""
        text: str = await (await self._outcome()).debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        """See `grpc.aio.Call.wait_for_connection`. Connected is what has a backend."""
        attempts = self._attempts
        while attempts.outcome is None and not attempts.running:
            await attempts.news()
        if attempts.ended:
            await attempts.outcome.wait_for_connection()

    def __repr__(self) -> str:
        attempts = self._attempts
        at = ", ".join(attempt.trial.backend.address for attempt in attempts.running)
        state = attempts.outcome if attempts.ended else f"at {at}" if at else "no backend yet"
        return f"<{type(self).__name__} {attempts.method.path}: {state}>"


class _UnaryResponse(ManagedCall):
    def __await__(self) -> Generator[None, None, Any]:
        attempts = self._attempts
        if attempts.outcome is None:
            yield from self._outcome_or_cancel().__await__()
        response: Any = yield from attempts.outcome.__await__()
        return response


class _StreamResponse(ManagedCall):
    _responses: AsyncIterator[Any] | None = None
    _reads = False

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._reads:
            raise grpc.aio.UsageError(MIXED)
        if self._responses is None:
            self._responses = self._iterate()
        return self._responses

    async def _iterate(self) -> AsyncIterator[Any]:
        while (response := await self._next()) is not grpc.aio.EOF:
            yield response

    async def read(self) -> Any:
        """See `grpc.aio.UnaryStreamCall.read`."""
        if not self.done():
            if self._responses is not None:
                raise grpc.aio.UsageError(MIXED)
            self._reads = True
        return await self._next()

    async def _next(self) -> Any:
        attempts = self._attempts
        if attempts.outcome is None:
            await self._outcome_or_cancel()
        response: Any
        if attempts.first is not NOTHING:
            response, attempts.first = attempts.first, NOTHING
        else:
            response = await attempts.outcome.read()
        return response


class StreamRequestCall(ManagedCall):
    """What the calls with a stream of requests have in common."""

    # grpc's own intercepted calls look at this name on the calls that they are given.
    _done_writing_flag = False
    _begun = False
    """Something was written, or was to be."""

    async def write(self, request: Any) -> None:
        """See `grpc.aio.StreamUnaryCall.write`."""
        requests = self._written()
        begun, self._begun = self._begun, True
        if self.done():
            if not (begun or self._attempts.cancelled or self._done_writing_flag):
                # grpc's own call would have failed while this was waiting for a connection.
                await self.raise_failure()
            raise asyncio.InvalidStateError("RPC already finished.")
        if self._done_writing_flag:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        try:
            await requests.write(request)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.done():
            await self.raise_failure()

    async def raise_failure(self) -> None:
        """Raise what the RPC has failed with, if it has."""
        outcome = self._attempts.outcome
        if self._attempts.cancelled:
            raise asyncio.CancelledError
        code = await outcome.code()
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                code,
                await outcome.initial_metadata(),
                await outcome.trailing_metadata(),
                await outcome.details(),
                await outcome.debug_error_string(),
            )

    async def done_writing(self) -> None:
        """See `grpc.aio.StreamUnaryCall.done_writing`."""
        requests = self._written()
        self._done_writing_flag = True
        requests.end()

    def _written(self) -> Requests[Any]:
        requests: Requests[Any] = self._attempts.request  # type: ignore[assignment]
        if not requests.written:
            raise grpc.aio.UsageError(MIXED)
        return requests


class UnaryUnaryCall(_UnaryResponse, grpc.aio.UnaryUnaryCall[Req, Res]):
    """A call with one request and one response."""


class UnaryStreamCall(_StreamResponse, grpc.aio.UnaryStreamCall[Req, Res]):
    """A call with one request and a stream of responses."""


class StreamUnaryCall(StreamRequestCall, _UnaryResponse, grpc.aio.StreamUnaryCall[Req, Res]):
    """A call with a stream of requests and one response."""


class StreamStreamCall(StreamRequestCall, _StreamResponse, grpc.aio.StreamStreamCall[Req, Res]):
    """A call with a stream of requests and a stream of responses."""
