"""Unary calls that are more than a plain call, for as long as their first attempt doesn't fail.

Most RPCs need nothing but to be counted and told of, and most methods nothing before the RPC's end.
What may follow a failure is made only then.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

from typing import Any

import grpc

from client_resolver.aio import calls, managed
from client_resolver.aio.attempt import Failed
from client_resolver.aio.connection import Backend, Connection, peek
from client_resolver.aio.method import Method
from client_resolver.call.accounting import Rpc, Trial
from client_resolver.call.metadata import Metadata

__all__ = ["LightCall", "TrackedCall", "start"]


def start(
    method: Method[Any],
    request: Any,
    timeout: float | None,
    metadata: Any,
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
) -> "LightCall | managed.UnaryUnaryCall[Any, Any]":
    """Make a call of a method that has no hedging policy."""
    if method.light:
        backend = method.pick()
        if backend is not None:
            arguments = (timeout, metadata, credentials, wait_for_ready, compression)
            return LightCall(method, backend, request, *arguments)
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


class LightCall(calls.UnaryUnaryCall[Any, Any]):
    """A call of a light method. See `calls.UnaryUnaryCall` for the arguments."""

    _deadline: float | None = None

    def __init__(
        self,
        method: Method[Any],
        backend: Backend,
        request: Any,
        timeout: float | None,
        metadata: Metadata | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        config = method.config
        if config.timeout is not None:
            timeout = config.bounded(timeout)
        self._began = began = method.driver.rpcs.now()
        if timeout is not None:
            self._deadline = began + timeout
        arguments = (timeout, metadata, credentials, wait_for_ready, compression)
        try:
            super().__init__(method, backend, request, *arguments)
        except BaseException:
            method.driver.rpcs.tell_end(method.path, backend, "INTERNAL", 0.0)
            raise

    def _finished(self, inner: Any) -> None:
        backend, method = self._backend, self._method
        backend.in_flight.pop()
        if backend.draining and not backend.in_flight:
            method.driver.drained(backend)
        self._judged = True
        if peek(inner.code()) is grpc.StatusCode.OK:
            self._succeeded(inner)
            if self._callbacks:
                self._is_final(inner)
        else:
            self._go_on(inner, *self._tracked())

    def _succeeded(self, inner: Any) -> None:  # noqa: ARG002
        method = self._method
        method.driver.rpcs.succeeded(method.path, method.config, self._backend, self._began)

    def _tracked(self) -> tuple[Rpc[Connection], Trial[Connection]]:
        """Return what is known of the RPC and of its attempt, which has failed."""
        method = self._method
        request, metadata, *_ = self._arguments
        rpc: Rpc[Connection] = Rpc(
            method.driver.rpcs, method.path, method.config, metadata, request
        )
        rpc.enter()
        return rpc, rpc.resume(self._backend, self._began)

    def _go_on(self, inner: Any, rpc: Rpc[Connection], trial: Trial[Connection]) -> None:
        """Leave to a call that may take several attempts what follows a failure."""
        request, metadata, credentials, wait_for_ready, compression, channel = self._arguments
        deadline = self._deadline
        instead: managed.UnaryUnaryCall[Any, Any] = managed.UnaryUnaryCall(
            self._method,
            request,
            None if deadline is None else max(0.0, deadline - rpc.now()),
            metadata,
            credentials,
            wait_for_ready,
            compression,
            rpc,
            Failed(inner, self._backend, channel, self._message, trial),
        )
        self._inner = instead
        instead.add_done_callback(self._instead_ended)

    def time_remaining(self) -> float | None:
        """See `grpc.aio.Call.time_remaining`."""
        deadline = self._deadline
        if deadline is None:
            return None
        return max(0.0, deadline - self._method.driver.rpcs.now())


class TrackedCall(LightCall):
    """A call of any other method on a backend that was picked for it.

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
            timeout = config.bounded(timeout)
        if timeout is not None:
            self._deadline = rpc.now() + timeout
        if config.retry is not None:
            timeout = rpc.bounded(timeout)
        self._rpc = rpc
        self._trial = trial = rpc.begin(backend)
        arguments = (timeout, rpc.metadata, credentials, wait_for_ready, compression)
        try:
            calls.UnaryUnaryCall.__init__(self, method, backend, request, *arguments)
        except BaseException:
            rpc.end(trial, grpc.StatusCode.INTERNAL.name, ours=True)
            raise

    def _succeeded(self, inner: Any) -> None:
        rpc = self._rpc
        trailing = peek(inner.trailing_metadata()) if rpc.wants_trailing else None
        rpc.end(self._trial, "OK", trailing)
        rpc.succeeded()
        rpc.finish("OK")

    def _tracked(self) -> tuple[Rpc[Connection], Trial[Connection]]:
        return self._rpc, self._trial
