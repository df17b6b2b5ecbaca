"""Multicallables: one callable per method and kind of RPC."""

# The arguments are those of grpc, in its order, and its methods return what a serializer makes.
# ruff: noqa: ANN401, PLR0917

from collections.abc import Callable, Iterable
from operator import attrgetter
from time import monotonic
from typing import Any

import grpc

from client_resolver.call.metadata import Metadata
from client_resolver.config.service_config import MethodConfig
from client_resolver.sync import blocking
from client_resolver.sync.attempts import (
    RetriedCall,
    RetriedRequestStreamCall,
    RetriedStreamCall,
    RetriedStreamStreamCall,
)
from client_resolver.sync.calls import (
    PickedCall,
    RequestStreamCall,
    RpcCall,
    StreamCall,
    StreamStreamCall,
    Unary,
    count_failure,
    may_repeat,
)
from client_resolver.sync.connection import READY, Connection
from client_resolver.sync.hedging import (
    RacingCall,
    RacingRequestStreamCall,
    RacingStreamCall,
    RacingStreamStreamCall,
)
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = ["MULTICALLABLES"]


class _Futures(Method[Callable[..., RpcCall]]):
    """The same method, called for a future."""

    def _bind(self, connection: Connection) -> Callable[..., RpcCall]:
        future: Callable[..., RpcCall] = super()._bind(connection).future  # type: ignore[attr-defined]
        return future


class _Calls:
    """Begins calls of one method, each of the class that its service config needs.

    Args:
        method: The method, for calls that return before they end.
        plain: The class while the method is plain.
        retried: The class otherwise,
        racing: and while attempts may run side by side.
    """

    def __init__(
        self,
        method: Method[Callable[..., RpcCall]],
        plain: type[PickedCall],
        retried: type[PickedCall],
        racing: type[PickedCall],
    ) -> None:
        self._method = method
        self._plain = plain
        self._retried = retried
        self._racing = racing
        self._streams = method.kind.endswith("stream")

    def begin(self, *args: Any) -> PickedCall:
        """Begin a call."""
        method = self._method
        if method.plain:
            return self._plain(method, *args)
        races = _hedges(method.config) or (self._streams and _gives_up(method.config))
        return (self._racing if races else self._retried)(method, *args)


class _UnaryResponse:
    def __init__(self, method: Method[Unary], *calls: type[PickedCall]) -> None:
        self._method = method
        self._calls = _Calls(_Futures.of(method), *calls)
        self._driver = method.driver

    def _wait_for(self, request: Any, *args: Any, with_call: bool) -> Any:
        """Make an RPC and wait for it."""
        method = self._method
        if method.plain:
            form = _with_call if with_call else _itself
            if method.kind == "stream_unary":
                request = Requests(request)
            return blocking.plain(method, form, request, *args)
        if not _hedges(method.config):
            return blocking.whole(method, request, *args, with_call=with_call)
        call = self._calls.begin(request, *args)
        try:
            response = call.result()
        except BaseException:
            call.cancel()
            raise
        # As with grpc's own, a call that is handed over with its response has no deadline any more.
        call.deadline = None
        return (response, call) if with_call else response


class UnaryUnaryMultiCallable(_UnaryResponse, grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a unary-unary method on a picked backend."""

    def __init__(self, method: Method[Unary]) -> None:
        super().__init__(method, PickedCall, RetriedCall, RacingCall)

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
        method, driver = self._method, self._driver
        if metadata is not None and type(metadata) is not tuple:
            # It may be an iterator, and another attempt would need it.
            metadata = tuple(metadata)
        picker = driver.outlook.picker if method.plain else None
        if picker is not None:
            # The usual case, with nothing that isn't needed: `Driver.pick` in this very frame.
            backend = picker.pick()
            began = monotonic()
            mark, in_flight = object(), backend.in_flight
            try:
                in_flight.add(mark)
                handle = backend.handle
                if handle is not None and backend.accepting and handle.state(False) is READY:
                    return (method.bound.get(handle) or method.on(handle))(
                        request, timeout, metadata, credentials, None, compression
                    )
                driver.observe(backend)
            except grpc.RpcError as error:
                if not may_repeat(driver, backend, error):
                    count_failure(driver, backend, error)
                    raise
            finally:
                # First of all, by one function of C: see `client_resolver.core.slots`.
                in_flight.discard(mark)
                if backend.draining:
                    driver.drained(backend)
            if timeout is not None:
                timeout -= monotonic() - began
        elif not method.plain and method.config.hedging is None:
            way = blocking.light if method.light else blocking.whole
            return way(method, request, timeout, metadata, credentials, wait_for_ready, compression)
        return self._wait_for(
            request, timeout, metadata, credentials, wait_for_ready, compression, with_call=False
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
            request, timeout, metadata, credentials, wait_for_ready, compression, with_call=True
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
        return self._calls.begin(
            request, timeout, metadata, credentials, wait_for_ready, compression
        )


class StreamUnaryMultiCallable(_UnaryResponse, grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Calls a stream-unary method on a picked backend."""

    def __init__(self, method: Method[Unary]) -> None:
        super().__init__(
            method, RequestStreamCall, RetriedRequestStreamCall, RacingRequestStreamCall
        )

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
        args = (request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
        return self._wait_for(*args, with_call=False)

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
        args = (request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
        return self._wait_for(*args, with_call=True)

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
        return self._calls.begin(
            request_iterator, timeout, metadata, credentials, wait_for_ready, compression
        )


class UnaryStreamMultiCallable(grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a unary-stream method on a picked backend."""

    def __init__(self, method: Method[Callable[..., RpcCall]]) -> None:
        self._calls = _Calls(method, StreamCall, RetriedStreamCall, RacingStreamCall)

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
        return self._calls.begin(
            request, timeout, metadata, credentials, wait_for_ready, compression
        )


class StreamStreamMultiCallable(grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Calls a stream-stream method on a picked backend."""

    def __init__(self, method: Method[Callable[..., RpcCall]]) -> None:
        self._calls = _Calls(
            method, StreamStreamCall, RetriedStreamStreamCall, RacingStreamStreamCall
        )

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
        return self._calls.begin(
            request_iterator, timeout, metadata, credentials, wait_for_ready, compression
        )


MULTICALLABLES: dict[str, Callable[[Method[Any]], Any]] = {
    "unary_unary": UnaryUnaryMultiCallable,
    "unary_stream": UnaryStreamMultiCallable,
    "stream_unary": StreamUnaryMultiCallable,
    "stream_stream": StreamStreamMultiCallable,
}
"""Each kind's class, by the name of grpc's factory."""

_with_call = attrgetter("with_call")


def _hedges(config: MethodConfig) -> bool:
    """Whether attempts of a method may run side by side."""
    return config.hedging is not None


def _gives_up(config: MethodConfig) -> bool:
    """Whether an attempt is given up when its first response takes too long."""
    return config.retry is not None and config.retry.per_attempt_timeout is not None


def _itself(multicallable: Unary) -> Callable[..., Any]:
    return multicallable
