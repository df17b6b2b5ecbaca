"""Calls that pick their backend and return before they end: futures and streams.

A call is put on a ready backend at once where there is one: it is then the backend channel's own
call behind a thin face. Otherwise the driver starts it when there is one. Another backend is tried
when an attempt was never taken up by a server.
"""

# The arguments are those of grpc, in its order, and its methods are documented there.
# ruff: noqa: D102, PLR0917

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

import grpc

from client_resolver.core.replay import Evidence, weigh
from client_resolver.sync.connection import Backend
from client_resolver.sync.driver import Driver
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = ["Metadata", "PickedCall", "RpcCall", "StreamCall", "may_repeat"]

T = TypeVar("T")

Metadata = Iterable[tuple[str, str | bytes]]

_OK = grpc.StatusCode.OK
_SECOND_LOOKS = (0.001, 0.004, 0.015)
"""Seconds between looks at a connection that should turn out to be gone: a server's GOAWAY may come
after the RPCs that it turned away."""


class RpcCall(Protocol):
    """What grpc returns for a call that is under way: a `grpc.Call` that is a future as well."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str: ...
    def debug_error_string(self) -> str: ...
    def initial_metadata(self) -> tuple[tuple[str, str | bytes], ...]: ...
    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]: ...
    def is_active(self) -> bool: ...
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def result(self, timeout: float | None = None) -> object: ...
    def exception(self, timeout: float | None = None) -> Exception | None: ...
    def traceback(self, timeout: float | None = None) -> TracebackType | None: ...
    def add_callback(self, callback: Callable[[], None]) -> bool: ...
    def __next__(self) -> object: ...


class _Status(Protocol):
    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...


def suspected(backend: Backend, failed: _Status) -> Evidence:
    """Say what a failed attempt is evidence of, if the server has sent no metadata."""
    details = failed.details() or ""
    address = backend.endpoint.address
    return weigh(failed.code().name, details, metadata=False, address=address)


def may_repeat(driver: Driver, backend: Backend, failed: _Status) -> bool:
    """Whether a failed attempt was never taken up by a server, so that another may be made.

    It may wait for grpc's thread, so it is not to be asked there unless `suspected` is `NONE`.
    """
    evidence = suspected(backend, failed)
    if evidence is Evidence.NONE or driver.closed:
        return False
    if any(getattr(failed, name)() for name in ("initial_metadata", "trailing_metadata")):
        return False
    details = failed.details() or ""
    if evidence is Evidence.UNSENT:
        backend.last_error = details
        return not driver.observe(backend)
    for pause in (0.0, *_SECOND_LOOKS):
        time.sleep(pause)
        if not driver.observe(backend):
            return True
    return False


class PickedCall(grpc.Call, grpc.Future):  # type: ignore[type-arg]
    """A call with one response, or the common part of one with a stream of them.

    `_inner` is the call that everything is asked of. It is None while there is none yet. `_settled`
    is notified when it is set.
    """

    def __init__(
        self,
        method: Method[Callable[..., RpcCall]],
        request: object,
        timeout: float | None,
        metadata: Metadata | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> None:
        timeout = method.bounded(timeout)
        self._method = method
        self._request = request
        self._metadata = metadata
        self._credentials = credentials
        self._compression = compression
        self._wait_for_ready = bool(
            method.wait_for_ready if wait_for_ready is None else wait_for_ready
        )
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self._settled = threading.Condition()
        self._callbacks: list[Callable[[], None]] = []
        self._cancelled = False
        self._done = False
        self._inner: RpcCall | None = None
        self._backend: Backend | None = None
        backend = method.driver.pick()
        if backend is not None:
            self._start(backend, timeout)
        else:
            method.driver.start()
            if self.advance():
                method.driver.defer(self)

    def advance(self) -> bool:
        """See `Pending.advance`."""
        with self._settled:
            waits = self._inner is None and self._search()
        self._tell()
        return waits

    def _search(self) -> bool:
        driver = self._method.driver
        if driver.closed:
            self._end(EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!"))
            return False
        backend = driver.pick()
        if backend is not None:
            left = None if self.deadline is None else self.deadline - time.monotonic()
            self._start(backend, left)
            return False
        ended = driver.verdict(self.deadline, wait_for_ready=self._wait_for_ready)
        if ended is not None:
            self._end(ended)
        return ended is None

    def _argument(self) -> object:
        return self._request

    def _repeatable(self) -> bool:
        return True

    def _start(self, backend: Backend, timeout: float | None) -> None:
        try:
            # The backend's own channel never waits: another may be ready before this one is.
            inner = self._method.on(backend.handle)(
                self._argument(),
                timeout,
                self._metadata,
                self._credentials,
                None,
                self._compression,
            )
        except BaseException:
            self._method.driver.release(backend)
            raise
        self._backend = backend
        self._set(inner)
        finished = partial(self._finished, inner, backend)
        if not inner.add_callback(finished):
            finished()

    def _end(self, ended: EndedCall) -> None:
        self._set(ended)
        self._done = True

    def _set(self, inner: RpcCall) -> None:
        with self._settled:
            self._inner = inner
            self._settled.notify_all()

    def _finished(self, inner: RpcCall, backend: Backend) -> None:
        self._method.driver.release(backend)
        if inner.code() is _OK or suspected(backend, inner) is Evidence.NONE:
            self._is_final(inner)
        else:
            # This is grpc's thread: the call's initial metadata may come only after this returns.
            judge = partial(self._is_final, inner)
            threading.Thread(target=judge, name="lookaside-judge", daemon=True).start()

    def _is_final(self, inner: RpcCall) -> bool:
        """Judge an attempt that has ended. Return whether it is the call's outcome.

        It is asked by grpc's thread as well as by those that wait for the call: the first that
        comes decides.
        """
        with self._settled:
            if self._inner is not inner:
                return False
            if not self._done and self._may_repeat(inner):
                self._inner = None
                if self._search():
                    self._method.driver.defer(self)
            else:
                self._done = True
        self._tell()
        return self._inner is inner

    def _may_repeat(self, inner: RpcCall) -> bool:
        return (
            self._backend is not None
            and inner.code() is not _OK
            and not self._cancelled
            and self._repeatable()
            and may_repeat(self._method.driver, self._backend, inner)
        )

    def _tell(self) -> None:
        if self._done and self._callbacks:
            with self._settled:
                callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def _await(self, until: float | None = None) -> RpcCall:
        with self._settled:
            while self._inner is None:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise grpc.FutureTimeoutError
                self._settled.wait(left)
            return self._inner

    def _ask(self, ask: Callable[[RpcCall], T]) -> T:
        while True:
            inner = self._await()
            answer = ask(inner)
            if inner.is_active() or self._is_final(inner):
                return answer

    def _ask_outcome(self, ask: Callable[[RpcCall, float | None], T], timeout: float | None) -> T:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            inner = self._await(until)
            left = None if until is None else max(0.0, until - time.monotonic())
            try:
                answer = ask(inner, left)
            except grpc.RpcError:
                if self._is_final(inner):
                    raise
            else:
                if self._is_final(inner):
                    return answer

    def code(self) -> grpc.StatusCode:
        """See `grpc.Call.code`. Waits for the end of the RPC."""
        return self._ask(lambda inner: inner.code())

    def details(self) -> str:
        """See `grpc.Call.details`. Waits for the end of the RPC."""
        return self._ask(lambda inner: inner.details())

    def debug_error_string(self) -> str:
        """Return what C-core says of a failure. Waits for the end of the RPC."""
        return self._ask(lambda inner: inner.debug_error_string())

    def initial_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """See `grpc.Call.initial_metadata`."""
        return self._ask(lambda inner: inner.initial_metadata())

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """See `grpc.Call.trailing_metadata`."""
        return self._ask(lambda inner: inner.trailing_metadata())

    def is_active(self) -> bool:
        """See `grpc.RpcContext.is_active`."""
        return not self.done()

    def time_remaining(self) -> float:
        """See `grpc.RpcContext.time_remaining`. None where the RPC has no deadline."""
        if self.deadline is None:
            return None  # type: ignore[return-value]
        return max(0.0, self.deadline - time.monotonic())

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """See `grpc.RpcContext.add_callback`."""
        with self._settled:
            if self._done:
                return False
            self._callbacks.append(callback)
            return True

    def add_done_callback(self, fn: Callable[["grpc.Future[object]"], None]) -> None:
        """See `grpc.Future.add_done_callback`."""
        if not self.add_callback(partial(fn, self)):
            fn(self)

    def cancel(self) -> bool:
        """See `grpc.Future.cancel`."""
        with self._settled:
            if self._done:
                return False
            self._cancelled = True
            if self._inner is None:
                text = "Locally cancelled by application!"
                self._end(EndedCall(grpc.StatusCode.CANCELLED, text, locally=True))
            inner = self._inner
        if inner is not None:
            inner.cancel()
        self._tell()
        return True

    def cancelled(self) -> bool:
        """See `grpc.Future.cancelled`."""
        return self._inner is not None and self._cancelled and self._inner.cancelled()

    def done(self) -> bool:
        """See `grpc.Future.done`."""
        inner = self._inner
        return inner is not None and not inner.is_active() and self._is_final(inner)

    def running(self) -> bool:
        """See `grpc.Future.running`."""
        return not self.done()

    def result(self, timeout: float | None = None) -> object:
        """See `grpc.Future.result`."""
        return self._ask_outcome(lambda inner, left: inner.result(left), timeout)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """See `grpc.Future.exception`."""
        return self._ask_outcome(lambda inner, left: inner.exception(left), timeout)

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """See `grpc.Future.traceback`."""
        return self._ask_outcome(lambda inner, left: inner.traceback(left), timeout)

    def __repr__(self) -> str:
        if self._inner is None:
            return f"<{type(self).__name__} {self._method.path}, waiting for a backend>"
        backend = "" if self._backend is None else f" at {self._backend.address}"
        return f"<{type(self).__name__} {self._method.path}{backend}: {self._inner!r}>"


class StreamCall(PickedCall):
    """A call with a stream of responses."""

    _received = False

    def _repeatable(self) -> bool:
        return not self._received and super()._repeatable()

    def __iter__(self) -> "StreamCall":
        return self

    def __next__(self) -> object:
        while True:
            inner = self._inner
            if inner is None:
                inner = self._await()
            try:
                response = next(inner)
            except grpc.RpcError:
                if self._is_final(inner):
                    raise
            else:
                self._received = True
                return response


class RequestStreamCall(PickedCall):
    """A call with a stream of requests."""

    _requests: Requests[object] | None = None

    def _argument(self) -> object:
        if self._requests is None:
            self._requests = Requests(self._request)  # type: ignore[arg-type]
        return self._requests.attempt()

    def _repeatable(self) -> bool:
        return (self._requests is None or self._requests.repeatable) and super()._repeatable()


class StreamStreamCall(RequestStreamCall, StreamCall):
    """A call with a stream of requests and a stream of responses."""
