"""Calls that pick their backend and return before they end: futures and streams.

A call starts on a ready backend at once if there is one: it is then the backend channel's own
call behind a thin face. Otherwise the driver starts it when there is one. Another backend is tried
when no server processed an attempt.

As with grpc's own, a call that nobody refers to any more is cancelled: so what grpc calls back
holds it weakly.
"""

# The arguments are those of grpc, in its order, and its methods are documented there.
# ruff: noqa: D102, PLR0917

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast
from weakref import ref

import grpc

from client_resolver.call.metadata import Metadata, kept
from client_resolver.config.call_arguments import deadline_after
from client_resolver.core.channel_state import Outlook
from client_resolver.core.guard import owned
from client_resolver.core.replay import Evidence, weigh
from client_resolver.sync.connection import Backend, Handle, Place
from client_resolver.sync.driver import Driver
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.method import Method
from client_resolver.sync.nesting import is_own_thread
from client_resolver.sync.requests import Kept, Requests
from client_resolver.sync.wakeups import Wakeup, Wakeups
from client_resolver.sync.work_serializer import on_main_thread
from client_resolver.telemetry.dispatch import tell_each

__all__ = [
    "Metadata",
    "PickedCall",
    "RequestStreamCall",
    "RpcCall",
    "StreamCall",
    "StreamStreamCall",
    "Unary",
    "count_failure",
    "may_repeat",
    "suspected",
]

T = TypeVar("T")

_OK = grpc.StatusCode.OK
_SECOND_LOOKS = (0.001, 0.004, 0.015)
"""Seconds between looks at a connection that should turn out to be gone: a server's GOAWAY may come
after the RPCs that it turned away."""

_PATIENCE = 1.0
"""Seconds between looks of a thread that waits for a call, in case nobody wakes it."""


class RpcCall(Protocol):
    """grpc's object for a call that is under way: a `grpc.Call` that is a future as well."""

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


class Unary(Protocol):
    """grpc's multicallable of a method with one response."""

    def __call__(self, *args: object) -> Any:  # noqa: ANN401
        """Make the RPC and return its response."""

    @property
    def with_call(self) -> Callable[..., tuple[Any, grpc.Call]]:
        """Make the RPC and return its response and itself."""

    @property
    def future(self) -> Callable[..., RpcCall]:
        """Begin the RPC."""


class _Status(Protocol):
    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...


def suspected(backend: Backend, failed: _Status) -> Evidence:
    """Say what a failed attempt is evidence of, if the server has sent no metadata."""
    details = failed.details() or ""
    address = backend.endpoint.address
    return weigh(failed.code().name, details, metadata=False, address=address)


def may_repeat(
    driver: Driver, backend: Backend, failed: _Status, used: Handle | None = None
) -> bool:
    """Whether no server processed a failed attempt, so that another may be made.

    It may wait for grpc's thread, so it is not to be asked there unless `suspected` is `NONE`.

    Args:
        driver: The channel's driver.
        backend: Where the attempt was put.
        failed: How it ended.
        used: The backend's connection that it used. None: it has only one.
    """
    evidence = suspected(backend, failed)
    if evidence is Evidence.NONE or driver.closed:
        return False
    if any(getattr(failed, name)() for name in ("initial_metadata", "trailing_metadata")):
        return False
    details = failed.details() or ""
    if evidence is Evidence.UNSENT:
        backend.last_error = details
        return not driver.observe(backend, used)
    for pause in (0.0, *_SECOND_LOOKS):
        time.sleep(pause)
        if not driver.observe(backend, used):
            return True
    return False


def count_failure(driver: Driver, backend: Backend, failed: RpcCall | grpc.RpcError) -> None:
    """The only attempt at an RPC of a plain method failed on a backend."""
    code, details = failed.code().name, failed.details() or ""
    # grpc's stubs have another type for an error's metadata than for a call's; both are pairs.
    driver.rpcs.failed(backend, code, details, cast("Metadata", failed.trailing_metadata()))


class PickedCall(grpc.Call, grpc.Future):  # type: ignore[type-arg]
    """A call with one response, or the common part of one with a stream of them.

    `_inner` is the call that everything is asked of. It is None while there is none yet. `_changed`
    wakes those who wait for it.

    `_settled` is held for each step of the call, by the application's threads, grpc's and the
    driver's. The driver's never waits for it. A thread that holds it may be interrupted by a signal
    handler or a finaliser that calls a method of the same call: what that wants is done once the
    step is complete, in `_leave`. The lock is one of C, for `with` to be safe where handlers raise:
    see `client_resolver.core.guard`.
    """

    _poked = False
    """The driver's thread came while somebody was at the call."""
    _cancel_wanted = False
    """`cancel` was called by somebody who interrupted a step of the call on his own thread."""

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
        self._method = method
        self._request = request
        self._metadata = None if metadata is None else kept(metadata)
        self._credentials = credentials
        self._compression = compression
        self._wait_for_ready = bool(
            method.config.wait_for_ready if wait_for_ready is None else wait_for_ready
        )
        self.deadline = deadline_after(time.monotonic(), timeout)
        self.seen: Outlook[Handle] | None = None
        self._settled = threading.RLock()
        self._changed = Wakeups()
        self._callbacks: deque[Callable[[], None]] = deque()
        self._cancelled = False
        self._done = False
        self._inner: RpcCall | None = None
        self._backend: Backend | None = None
        self._begin(timeout)

    def _begin(self, timeout: float | None) -> None:
        place = self._method.driver.pick()
        if place is not None:
            self._start(place, timeout)
        else:
            self._begin_later()

    def _begin_later(self) -> None:
        self._method.driver.start()
        # The starter can't report to the application what grpc refuses.
        self._method.check(self._request, self._credentials, self._compression)
        with self._settled:
            self._search_on()
        self._leave()

    @property
    def _begun(self) -> bool:
        """Whether there is a call of grpc's, or the end."""
        return self._inner is not None

    def _hand_on(self) -> None:
        """Have the driver's thread look at the call, whatever becomes of this one."""
        self.seen = None
        self._method.driver.defer(self)

    def _search_on(self) -> None:
        """Start or end the call, or have the driver do it. With `_settled`."""
        if self._search() and not self._method.driver.defer(self):
            # The channel has been closed: that ends it.
            self._search()

    @property
    def wake_at(self) -> float | None:
        """See `Pending.wake_at`."""
        return self.deadline

    def advance(self) -> bool:
        """See `Pending.advance`. It waits for nobody."""
        if not self._settled.acquire(blocking=False):
            # The holder continues with it; if it has released the lock by now, this thread does.
            self._poked = True
            if not self._settled.acquire(blocking=False):
                self.seen = self._method.driver.outlook
                return self._inner is None
        try:
            waits = self._inner is None and self._search()
        finally:
            self._settled.release()
        self._leave()
        return waits

    def _search(self) -> bool:
        """Start or end the call if that is possible. Return whether it waits."""
        driver = self._method.driver
        self.seen = driver.outlook
        if self._cancelled:
            # An exception has cut `cancel` short.
            self._cancel_waiting()
            return False
        if driver.closed:
            self._end(EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!"))
            return False
        try:
            place = self._pick()
            if place is not None:
                self._start(place, self._left())
                return False
            ended = self._verdict()
        except grpc.RpcError as error:
            # grpc could not make its call: of a request that can't be serialized, for example.
            ended = EndedCall(error.code(), error.details() or "")
        except Exception as error:
            if on_main_thread():
                # The application's own call: it may be what a signal handler of its has raised.
                raise
            # It would end the driver's thread.
            details = driver.settings.explain(f"the RPC could not be started: {error!r}")
            ended = EndedCall(grpc.StatusCode.INTERNAL, details)
        if ended is not None:
            self._end(ended)
        return ended is None

    def _pick(self) -> Place | None:
        return self._method.driver.pick()

    def _verdict(self) -> EndedCall | None:
        return self._method.driver.verdict(self.deadline, wait_for_ready=self._wait_for_ready)

    def _left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    _current: Iterator[Kept] | None = None
    """What the last attempt gets its requests from, if they are a stream."""

    def _argument(self) -> object:
        return self._request

    def _repeatable(self) -> bool:
        return True

    def _start(self, place: Place, timeout: float | None) -> None:
        driver, backend = self._method.driver, place.backend
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
            driver.release(place)
            raise
        self._backend = backend
        self._set(inner)
        finished = partial(_finished, ref(self), ref(inner), driver, place)
        if not inner.add_callback(finished):
            finished()
        self._keep(inner)

    def _keep(self, inner: RpcCall) -> None:
        """Keep the call alive for as long as someone waits for its end."""
        if self._callbacks:
            inner.add_callback(partial(_hold, self))

    def _end(self, ended: EndedCall) -> None:
        self._set(ended)
        self._conclude(ended)

    def _set(self, inner: RpcCall) -> None:
        with self._settled:
            self._inner = inner
        self._changed.set()

    def _conclude(self, outcome: RpcCall) -> None:  # noqa: ARG002
        """The call has its outcome. Called with `_settled` held."""
        self._done = True

    def finished(self, inner: RpcCall) -> None:
        """An attempt ended. Called on grpc's own thread."""
        if self._waits(inner):
            judge = partial(self._is_final, inner)
            threading.Thread(target=judge, name="lookaside-judge", daemon=True).start()
        else:
            self._settle(inner)

    def _waits(self, inner: RpcCall) -> bool:
        """Whether to judge an attempt that has ended takes time, or its initial metadata.

        That may come only after what grpc's own thread is at, even though the status is there.
        """
        if self._cancelled:
            # There will be no other attempt, whatever it is evidence of.
            return False
        backend = self._backend_of(inner)
        return (
            backend is not None and inner.code() is not _OK and self._judged_apart(inner, backend)
        )

    def _backend_of(self, inner: RpcCall) -> Backend | None:  # noqa: ARG002
        return self._backend

    def _judged_apart(self, inner: RpcCall, backend: Backend) -> bool:
        return suspected(backend, inner) is not Evidence.NONE

    def _is_final(self, inner: RpcCall) -> bool:
        """Judge an attempt that has ended, as `_settle`. May wait: not for grpc's own thread."""
        if owned(self._settled):
            # Code that interrupts a step of the call gets the present state.
            return True
        if not self._done and self._waits(inner):
            # Before the lock is taken, which grpc's thread may want.
            inner.initial_metadata()
        return self._settle(inner)

    def _settle(self, inner: RpcCall) -> bool:
        """Judge an attempt that has ended. Return whether it is the call's outcome.

        It is asked by grpc's thread as well as by those that wait for the call: the first that
        comes decides.
        """
        with self._settled:
            if self._inner is not inner:
                return False
            if not self._done and self._again(inner):
                # First: should a signal handler raise from here on, the driver goes on with it.
                self._hand_on()
                self._inner = None
                # The next attempt may have failed in there, and the call waits again.
                if not self._search() and self._begun:
                    self._method.driver.undefer(self)
            elif not self._done:
                self._conclude_with(inner)
        self._leave()
        return self._inner is inner

    def _conclude_with(self, inner: RpcCall) -> None:
        if self._cancelled and inner.code() is not _OK and not inner.cancelled():
            # It failed in the moment before the application cancelled it.
            self._cancel_waiting()
        else:
            self._conclude(inner)

    def _again(self, inner: RpcCall) -> bool:
        """Whether another attempt is to be made for one that has ended."""
        backend, driver = self._backend, self._method.driver
        if backend is None or inner.code() is _OK or self._cancelled:
            return False
        if self._repeatable() and may_repeat(driver, backend, inner):
            return True
        count_failure(driver, backend, inner)
        return False

    def _leave(self) -> None:
        """Do what is to be done without `_settled`, after each step."""
        if owned(self._settled):
            # The step further down on this thread does it.
            return
        if self._cancel_wanted:
            self._cancel_wanted = False
            self.cancel()
        if self._poked:
            # Not here: this may be the main thread, where a handler may raise in the middle of it.
            self._hand_on()
            self._poked = False
        while self._done and self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            tell_each((callback,))

    def _await(self, until: float | None = None) -> RpcCall:
        inner = self._inner
        if inner is not None:
            return inner
        if owned(self._settled) or is_own_thread():
            raise RuntimeError("the call waits for the thread that would wait for it here")
        changed = Wakeup()
        self._changed.add(changed)
        try:
            while (inner := self._inner) is None:
                left = _PATIENCE if until is None else until - time.monotonic()
                if left <= 0:
                    raise grpc.FutureTimeoutError
                if not changed.wait(min(left, _PATIENCE)):
                    # The driver came while somebody was at it whom an exception took away.
                    self._leave()
                    if self._method.driver.closed:
                        self.advance()
        finally:
            self._changed.remove(changed)
        return inner

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
            inner = self._inner
        if inner is not None:
            inner.add_callback(partial(_hold, self))
        self._leave()
        return True

    def add_done_callback(self, fn: Callable[["grpc.Future[object]"], None]) -> None:
        """See `grpc.Future.add_done_callback`."""
        if not self.add_callback(partial(fn, self)):
            fn(self)

    def cancel(self) -> bool:
        """See `grpc.Future.cancel`."""
        if owned(self._settled):
            self._cancel_wanted = not self._done
            return self._cancel_wanted
        with self._settled:
            inner = self._inner
            ended = inner is not None and not inner.is_active()
            if self._done or self._cancelled:
                return False
            if ended and inner is not None and inner.code() is _OK:
                return False
            self._cancelled = True
            if inner is None or ended:
                # There would have been another attempt, perhaps.
                self._hand_on()
                self._cancel_waiting()
        if inner is not None:
            inner.cancel()
        self._leave()
        return True

    def _cancel_waiting(self) -> None:
        text = "Locally cancelled by application!"
        self._end(EndedCall(grpc.StatusCode.CANCELLED, text, locally=True))
        self._method.driver.undefer(self)

    def cancelled(self) -> bool:
        """See `grpc.Future.cancelled`."""
        return self._inner is not None and self._cancelled and self._inner.cancelled()

    def done(self) -> bool:
        """See `grpc.Future.done`."""
        inner = self._inner
        if self._done or inner is None or owned(self._settled) or inner.is_active():
            return self._done
        return not self._waits(inner) and self._settle(inner)

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
    """A response came. Before it has, it may be on its way to a thread that is in `next`."""
    _reading: RpcCall | None = None
    _unjudged = False

    def _repeatable(self) -> bool:
        return not self._received and super()._repeatable()

    def _settle(self, inner: RpcCall) -> bool:
        with self._settled:
            if self._reading is inner and not self._received:
                # The end came, but that thread may bring a response. It judges.
                self._unjudged = True
                return False
        return super()._settle(inner)

    def __iter__(self) -> "StreamCall":
        return self

    def __next__(self) -> object:
        while True:
            inner = self._inner
            if inner is None:
                inner = self._await()
            try:
                return next(inner) if self._received else self._first_of(inner)
            except grpc.RpcError:
                if self._is_final(inner):
                    raise

    def _first_of(self, inner: RpcCall) -> object:
        """Return an attempt's first response."""
        self._reading = inner
        try:
            response = next(inner)
            self._received = True
            self._commit()
        finally:
            with self._settled:
                self._reading = None
                unjudged, self._unjudged = self._unjudged, False
            if unjudged:
                self._is_final(inner)
            else:
                self._leave()
        return response

    def _commit(self) -> None:
        """A response came: there is no other attempt."""


class RequestStreamCall(PickedCall):
    """A call with a stream of requests."""

    _requests: Requests | None = None
    _beside = False
    """Attempts run side by side."""

    def _argument(self) -> object:
        if self._requests is None:
            self._requests = self._buffer()
        self._current = self._requests.attempt(beside=self._beside)
        return self._current

    def _buffer(self) -> Requests:
        return Requests(self._request)  # type: ignore[arg-type]

    def _repeatable(self) -> bool:
        return (self._requests is None or self._requests.repeatable) and super()._repeatable()

    def _conclude(self, outcome: RpcCall) -> None:
        super()._conclude(outcome)
        if self._requests is not None:
            self._requests.end()


class StreamStreamCall(RequestStreamCall, StreamCall):
    """A call with a stream of requests and a stream of responses."""


def _finished(call: "ref[PickedCall]", inner: "ref[RpcCall]", driver: Driver, place: Place) -> None:
    driver.release(place)
    alive, ended = call(), inner()
    if alive is not None and ended is not None:
        alive.finished(ended)


def _hold(_call: PickedCall) -> None:
    """Keep a call alive whose end someone waits for."""
