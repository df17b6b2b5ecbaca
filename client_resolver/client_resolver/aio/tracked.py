"""Unary calls that are more than a plain call, for as long as their first attempt doesn't fail.

Most RPCs need nothing but to be counted and told of. What may follow a failure is made only then.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

from typing import Any

import grpc

from client_resolver.aio import calls, managed
from client_resolver.aio.attempt import Failed, peek
from client_resolver.aio.connection import Backend, Connection
from client_resolver.aio.method import Method
from client_resolver.rpc import Rpc

__all__ = ["TrackedCall", "start"]


def start(
    method: Method[Any],
    request: Any,
    timeout: float | None,
    metadata: Any,
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
) -> "TrackedCall | managed.UnaryUnaryCall[Any, Any]":
    """Make a call of a method that has no hedging policy."""
    driver = method.driver
    driver.start()
    rpc: Rpc[Connection] = Rpc(driver.rpcs, method.path, method.config, metadata, request)
    refused = rpc.enter()
    backend = driver.pick_for(rpc) if refused is None else None
    if backend is None:
        return managed.UnaryUnaryCall(
            method,
            request,
            timeout,
            metadata,
            credentials,
            wait_for_ready,
            compression,
            rpc,
            refused,
        )
    try:
        return TrackedCall(
            method, backend, request, timeout, credentials, wait_for_ready, compression, rpc
        )
    except BaseException:
        rpc.finish(grpc.StatusCode.CANCELLED.name)
        raise


class TrackedCall(calls.UnaryUnaryCall[Any, Any]):
    """A call with one request and one response on a backend that was picked for it.

    Args:
        method: The method.
        backend: The backend.
        request: The request.
        timeout: The application's bound in seconds. None: none.
        credentials: The RPC's call credentials.
        wait_for_ready: As the application has it.
        compression: The RPC's compression.
        rpc: The RPC, which is counted in.
    """

    _deadline: float | None = None

    def __init__(
        self,
        method: Method[Any],
        backend: Backend,
        request: Any,
        timeout: float | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
        rpc: Rpc[Connection],
    ) -> None:
        config = method.config
        if config.timeout is not None:
            timeout = config.timeout if timeout is None else min(timeout, config.timeout)
        if timeout is not None:
            self._deadline = rpc.now() + timeout
        if config.retry is not None:
            timeout = rpc.bounded(timeout)
        channel = backend.handle.channel  # type: ignore[union-attr]
        self._rpc = rpc
        self._trial = trial = rpc.begin(backend)
        metadata = rpc.metadata
        try:
            inner: Any = method.on(channel)(
                request,
                timeout=timeout,
                metadata=metadata,
                credentials=credentials,
                compression=compression,
            )
        except BaseException:
            rpc.end(trial, grpc.StatusCode.INTERNAL.name, ours=True)
            raise
        self._inner = inner
        self._backend = backend
        self._method = method
        self._arguments = (request, metadata, credentials, wait_for_ready, compression, channel)
        backend.in_flight.append(None)
        inner.add_done_callback(self._finished)

    def _finished(self, inner: Any) -> None:
        backend, rpc = self._backend, self._rpc
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            self._method.driver.drained(backend)
        self._judged = True
        if peek(inner.code()) is grpc.StatusCode.OK:
            trailing = peek(inner.trailing_metadata()) if rpc.wants_trailing else None
            rpc.end(self._trial, "OK", trailing)
            rpc.succeeded()
            rpc.finish("OK")
            if self._callbacks:
                self._is_final(inner)
        else:
            self._go_on(inner)

    def _go_on(self, inner: Any) -> None:
        """Leave to a call that may take several attempts what follows a failure."""
        request, metadata, credentials, wait_for_ready, compression, channel = self._arguments
        deadline, rpc = self._deadline, self._rpc
        instead: managed.UnaryUnaryCall[Any, Any] = managed.UnaryUnaryCall(
            self._method,
            request,
            None if deadline is None else max(0.0, deadline - rpc.now()),
            metadata,
            credentials,
            wait_for_ready,
            compression,
            rpc,
            Failed(inner, self._backend, channel, self._trial),
        )
        self._inner = instead
        instead.add_done_callback(self._instead_ended)

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        deadline = self._deadline
        return None if deadline is None else max(0.0, deadline - self._rpc.now())
