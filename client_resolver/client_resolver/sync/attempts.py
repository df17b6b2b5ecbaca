"""Calls whose attempts are counted, told of and made again: futures and streams that aren't plain.

What is kept from attempt to attempt, and what follows a failure, is `call.accounting`'s.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: PLR0917

import time
from collections.abc import Callable
from functools import partial
from weakref import ref

import grpc

from client_resolver.call.accounting import Rpc, Trial
from client_resolver.call.attempt import Status
from client_resolver.call.metadata import Metadata
from client_resolver.core.replay import Evidence
from client_resolver.sync.calls import (
    PickedCall,
    RequestStreamCall,
    RpcCall,
    StreamCall,
    may_repeat,
    suspected,
)
from client_resolver.sync.connection import Backend, Handle, Place, one_of
from client_resolver.sync.driver import Driver
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = [
    "RetriedCall",
    "RetriedRequestStreamCall",
    "RetriedStreamCall",
    "RetriedStreamStreamCall",
]

_OK = grpc.StatusCode.OK


class RetriedCall(PickedCall):
    """A call with one response, by the whole service config."""

    _streams = False
    """Whether anything streams: then grpc's thread may bring initial metadata after the status."""

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
        config = method.config
        self._rpc: Rpc[Handle] = Rpc(method.driver.rpcs, method.path, config, metadata, request)
        self._trial: Trial[Handle] | None = None
        self._used: Handle | None = None
        self._resume_at: float | None = None
        timeout = config.bounded(timeout)
        super().__init__(method, request, timeout, None, credentials, wait_for_ready, compression)

    def _begin(self, timeout: float | None) -> None:
        # Before observers receive the RPC.
        self._method.driver.start()
        refused = self._rpc.enter()
        if refused is not None:
            self._end(self._method.driver.end(refused.code.name, refused.details))
            return
        try:
            self._begin_attempts(timeout)
        except BaseException:
            self._rpc.finish("UNKNOWN")
            raise

    def _begin_attempts(self, timeout: float | None) -> None:
        place = self._pick()
        if place is not None:
            self._start(place, timeout)
        else:
            self._begin_later()

    @property
    def wake_at(self) -> float | None:
        """See `Pending.wake_at`."""
        resume_at, deadline = self._resume_at, self.deadline
        if resume_at is None or deadline is None:
            return deadline if resume_at is None else resume_at
        return min(resume_at, deadline)

    def _search(self) -> bool:
        driver = self._method.driver
        if self._resume_at is not None and not driver.closed:
            self.seen = driver.outlook
            now = time.monotonic()
            if self.deadline is not None and self.deadline <= now:
                why = "the deadline passed before the next attempt"
                self._end(driver.end("DEADLINE_EXCEEDED", why, self._rpc))
                return False
            if now < self._resume_at:
                return True
            self._resume_at = None
        return super()._search()

    def _pick(self) -> Place | None:
        return self._method.driver.pick_for(self._rpc)

    def _verdict(self) -> EndedCall | None:
        wait = self._wait_for_ready
        return self._method.driver.verdict(self.deadline, wait_for_ready=wait, rpc=self._rpc)

    def _start(self, place: Place, timeout: float | None) -> None:
        retry = self._rpc.config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        trial, used, inner = self._put(place, timeout, limit)
        self._backend, self._trial, self._used = place.backend, trial, used
        self._set(inner)
        self._listen(inner, trial, place)

    def _put(
        self,
        place: Place,
        timeout: float | None,
        limit: float | None = None,
        *,
        hedge: bool = False,
    ) -> tuple[Trial[Handle], Handle | None, RpcCall]:
        """Put an attempt on a backend. Return it, the connection that it is on, and the call."""
        driver, rpc, backend = self._method.driver, self._rpc, place.backend
        trial = rpc.begin(backend, hedge=hedge)
        trial.bound(timeout, limit)
        used = one_of(backend.handle)
        try:
            inner = self._method.on(used)(
                self._argument(),
                trial.timeout,
                rpc.metadata,
                self._credentials,
                None,
                self._compression,
            )
        except BaseException:
            driver.release(place)
            rpc.end(trial, "UNKNOWN", ours=True)
            raise
        return trial, used, inner

    def _listen(self, inner: RpcCall, trial: Trial[Handle], place: Place) -> None:
        driver = self._method.driver
        finished = partial(_finished, ref(self), ref(inner), driver, self._rpc, trial, place)
        if not inner.add_callback(finished):
            finished()
        self._keep(inner)

    def _judged_apart(self, inner: RpcCall, backend: Backend) -> bool:
        evidence = suspected(backend, inner)
        if self._streams:
            return evidence is not Evidence.NONE or self._rpc.config.retry is not None
        # All of its metadata came with the status.
        return evidence is Evidence.TURNED_AWAY

    def _cancel_waiting(self) -> None:
        if self._inner is not None and self._trial is not None:
            self._rpc.end(self._trial, self._inner.code().name)
        super()._cancel_waiting()

    def _again(self, inner: RpcCall) -> bool:
        rpc, trial = self._rpc, self._trial
        if trial is None:
            return False
        code = inner.code()
        if code is _OK:
            rpc.end(trial, "OK", inner.trailing_metadata() if rpc.wants_trailing else None)
            rpc.succeeded()
            return False
        if self._cancelled:
            rpc.end(trial, code.name, ours=True)
            return False
        return self._after_failure(inner, trial)

    def _after_failure(self, inner: RpcCall, trial: Trial[Handle]) -> bool:
        rpc, driver = self._rpc, self._method.driver
        code, details = inner.code().name, inner.details() or ""
        trial.expired = trial.limited and code == "DEADLINE_EXCEEDED"
        if trial.expired:
            details = rpc.repeats.too_slow
        repeatable = self._repeatable()
        if repeatable and may_repeat(driver, trial.backend, inner, self._used):
            rpc.end(trial, code, ours=True)
            rpc.repeats.note(trial.backend.address, Status(code, details))
            return True
        trailing = inner.trailing_metadata()
        rpc.end(trial, code, trailing, details=details)
        retried = rpc.config.retry is not None and repeatable and not driver.closed
        if not retried or inner.initial_metadata():
            return False
        status = Status(code, details, (), trailing)
        delay = rpc.repeats.again(trial.backend.address, status, expired=trial.expired)
        if delay is not None:
            self._resume_at = time.monotonic() + delay
        return delay is not None

    def _conclude_with(self, inner: RpcCall) -> None:
        rpc, trial = self._rpc, self._trial
        if trial is not None and trial.expired and not self._cancelled:
            why = rpc.repeats.too_slow
            self._end(self._method.driver.end("DEADLINE_EXCEEDED", why, rpc))
        else:
            super()._conclude_with(inner)

    def _conclude(self, outcome: RpcCall) -> None:
        super()._conclude(outcome)
        self._rpc.finish(outcome.code().name)


class RetriedStreamCall(RetriedCall, StreamCall):
    """The same with a stream of responses."""

    _streams = True


class RetriedRequestStreamCall(RetriedCall, RequestStreamCall):
    """The same with a stream of requests."""

    _streams = True

    def _buffer(self) -> Requests:
        config = self._rpc.config
        again = config.retry is not None or config.hedging is not None
        limit = self._method.driver.rpcs.retry_buffer if again else 0
        return Requests(self._request, limit)  # type: ignore[arg-type]


class RetriedStreamStreamCall(RetriedRequestStreamCall, RetriedStreamCall):
    """The same with a stream of requests and a stream of responses."""

    def _commit(self) -> None:
        if self._requests is not None and self._current is not None:
            self._requests.only(self._current)


def _finished(
    call: "ref[RetriedCall]",
    inner: "ref[RpcCall]",
    driver: Driver,
    rpc: Rpc[Handle],
    trial: Trial[Handle],
    place: Place,
) -> None:
    driver.release(place)
    alive, ended = call(), inner()
    if alive is not None and ended is not None:
        alive.finished(ended)
    else:
        rpc.end(trial, "CANCELLED", ours=True)
        rpc.finish("CANCELLED")
