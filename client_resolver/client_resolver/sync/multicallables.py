"""What the channel's factories return: one callable per method and kind of RPC."""

# The arguments are those of grpc, in its order, and its methods return what a serializer makes.
# ruff: noqa: ANN401, PLR0917

from collections.abc import Callable, Iterable
from operator import attrgetter
from time import monotonic
from typing import Any, Protocol

import grpc

from client_resolver.sync.calls import (
    Metadata,
    PickedCall,
    RequestStreamCall,
    RpcCall,
    StreamCall,
    StreamStreamCall,
    may_repeat,
)
from client_resolver.sync.connection import Backend, Connection
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = ["MULTICALLABLES"]


class _Unary(Protocol):
    """grpc's multicallable of a method with one response."""

    def __call__(self, *args: object) -> Any: ...

    @property
    def with_call(self) -> Callable[..., tuple[Any, grpc.Call]]: ...

    @property
    def future(self) -> Callable[..., RpcCall]: ...


class _Futures(Method[Callable[..., RpcCall]]):
    """The same method, called for a future."""

    def _bind(self, connection: Connection) -> Callable[..., RpcCall]:
        future: Callable[..., RpcCall] = super()._bind(connection).future  # type: ignore[attr-defined]
        return future


class _UnaryResponse:
    def __init__(self, method: Method[_Unary]) -> None:
        self._method = method
        self._futures = _Futures.of(method)
        self._pick = method.driver.pick
        self._release = method.driver.release

    def _wait_for(
        self,
        form: Callable[[_Unary], Callable[..., Any]],
        request: object,
        timeout: float | None,
        metadata: Metadata | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
        backend: Backend | None = None,
    ) -> Any:
        method = self._method
        driver = method.driver
        if method.timeout is not None:
            timeout = method.bounded(timeout)
        deadline = None if timeout is None else monotonic() + timeout
        backend = backend or driver.pick()
        while True:
            if backend is None:
                if wait_for_ready is None:
                    wait_for_ready = method.wait_for_ready
                backend = driver.wait(deadline, wait_for_ready=bool(wait_for_ready))
                if deadline is not None:
                    timeout = deadline - monotonic()
            argument = request.attempt() if isinstance(request, Requests) else request
            try:
                # The backend's own channel never waits: another may be ready before this one is.
                return form(method.on(backend.handle))(
                    argument, timeout, metadata, credentials, None, compression
                )
            except grpc.RpcError as error:
                if isinstance(request, Requests) and not request.repeatable:
                    raise
                if not may_repeat(driver, backend, error):
                    raise
            finally:
                driver.release(backend)
            backend = None


class UnaryUnaryMultiCallable(_UnaryResponse, grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a unary-unary method on a picked backend."""

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.UnaryUnaryMultiCallable`."""
        method = self._method
        backend = self._pick()
        if backend is None or method.timeout is not None:
            return self._wait_for(
                _itself,
                request,
                timeout,
                metadata,
                credentials,
                wait_for_ready,
                compression,
                backend,
            )
        began = monotonic()
        try:
            return method.on(backend.handle)(
                request, timeout, metadata, credentials, None, compression
            )
        except grpc.RpcError as error:
            if not may_repeat(method.driver, backend, error):
                raise
        finally:
            self._release(backend)
        if timeout is not None:
            timeout -= monotonic() - began
        return self._wait_for(
            _itself, request, timeout, metadata, credentials, wait_for_ready, compression
        )

    def with_call(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.UnaryUnaryMultiCallable.with_call`."""
        return self._wait_for(
            _with_call, request, timeout, metadata, credentials, wait_for_ready, compression
        )

    def future(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.UnaryUnaryMultiCallable.future`."""
        return PickedCall(
            self._futures, request, timeout, metadata, credentials, wait_for_ready, compression
        )


class StreamUnaryMultiCallable(_UnaryResponse, grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a stream-unary method on a picked backend."""

    def __call__(
        self,
        request_iterator: Iterable[object],
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.StreamUnaryMultiCallable`."""
        requests = Requests(request_iterator)
        return self._wait_for(
            _itself, requests, timeout, metadata, credentials, wait_for_ready, compression
        )

    def with_call(
        self,
        request_iterator: Iterable[object],
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.StreamUnaryMultiCallable.with_call`."""
        requests = Requests(request_iterator)
        return self._wait_for(
            _with_call, requests, timeout, metadata, credentials, wait_for_ready, compression
        )

    def future(
        self,
        request_iterator: Iterable[object],
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.StreamUnaryMultiCallable.future`."""
        return RequestStreamCall(
            self._futures,
            request_iterator,
            timeout,
            metadata,
            credentials,
            wait_for_ready,
            compression,
        )


class UnaryStreamMultiCallable(grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a unary-stream method on a picked backend."""

    def __init__(self, method: Method[Callable[..., RpcCall]]) -> None:
        self._method = method

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.UnaryStreamMultiCallable`."""
        return StreamCall(
            self._method, request, timeout, metadata, credentials, wait_for_ready, compression
        )


class StreamStreamMultiCallable(grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a stream-stream method on a picked backend."""

    def __init__(self, method: Method[Callable[..., RpcCall]]) -> None:
        self._method = method

    def __call__(
        self,
        request_iterator: Iterable[object],
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """See `grpc.StreamStreamMultiCallable`."""
        return StreamStreamCall(
            self._method,
            request_iterator,
            timeout,
            metadata,
            credentials,
            wait_for_ready,
            compression,
        )


MULTICALLABLES: dict[str, Callable[[Method[Any]], Any]] = {
    "unary_unary": UnaryUnaryMultiCallable,
    "unary_stream": UnaryStreamMultiCallable,
    "stream_unary": StreamUnaryMultiCallable,
    "stream_stream": StreamStreamMultiCallable,
}
"""Each kind's class, by the name of grpc's factory."""

_with_call = attrgetter("with_call")


def _itself(multicallable: _Unary) -> Callable[..., Any]:
    return multicallable
