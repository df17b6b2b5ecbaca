"""Calls with several attempts under way at once: the first answer counts.

Also streams whose attempts are given up when no first response comes in time, for that takes the
same: somebody who waits for the first response, whether the application asks for it or not. grpc
tells nobody of a response, so each attempt at a stream has a thread until its first one.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import grpc

from client_resolver.call.accounting import Trial
from client_resolver.call.attempt import Status
from client_resolver.core.hedging import Verdict
from client_resolver.core.replay import Evidence
from client_resolver.sync.attempts import (
    RetriedCall,
    RetriedRequestStreamCall,
    RetriedStreamCall,
)
from client_resolver.sync.calls import RpcCall, may_repeat, suspected
from client_resolver.sync.connection import Backend, Handle, Place
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.requests import Kept

__all__ = [
    "RacingCall",
    "RacingRequestStreamCall",
    "RacingStreamCall",
    "RacingStreamStreamCall",
]

_OK = grpc.StatusCode.OK


@dataclass(frozen=True, slots=True, eq=False)
class _Racer:
    """An attempt that is under way.

    Attributes:
        trial: The attempt.
        used: The connection that it is on.
        expires_at: When it is given up without a first response. None: never.
        requests: What it gets its requests from. None: it has but one.
    """

    trial: Trial[Handle]
    used: Handle | None
    expires_at: float | None
    requests: Iterator[Kept] | None


class RacingCall(RetriedCall):
    """A call with one response. It has no inner call before it is decided which one counts."""

    _owed = False
    """An attempt is granted that has no backend yet."""

    def _begin(self, timeout: float | None) -> None:
        self._racers: dict[RpcCall, _Racer] = {}
        self._expired: RpcCall | None = None
        self._failed: tuple[RpcCall, _Racer] | None = None
        super()._begin(timeout)

    def _begin_attempts(self, timeout: float | None) -> None:  # noqa: ARG002
        self._owed = self._rpc.config.hedging is None
        self._begin_later()

    @property
    def wake_at(self) -> float | None:
        """See `Pending.wake_at`."""
        times = [self.deadline, self._resume_at]
        times += [
            racer.expires_at
            for inner, racer in list(self._racers.items())
            if inner is not self._expired
        ]
        hedges = self._rpc.repeats.hedges
        if hedges is not None and not self._owed:
            times.append(hedges.next_at)
        return min((at for at in times if at is not None), default=None)

    def _search(self) -> bool:
        driver, rpc = self._method.driver, self._rpc
        self._expire()
        while not self._decided and (self._owed or rpc.repeats.hedge(time.monotonic())):
            # What the base class does with the one attempt that it has at a time.
            self._owed = True
            waits = super()._search()
            if self._owed:
                return waits
        self.seen = driver.outlook
        if self._decided:
            return False
        if self._cancelled:
            # An exception has cut `cancel` short.
            self._cancel_waiting()
        elif driver.closed:
            self._end(EndedCall(grpc.StatusCode.CANCELLED, "Channel closed!"))
        elif self._failed is not None and (hedges := rpc.repeats.hedges) and hedges.over:
            # Nothing runs, and the throttle or the breaker lets nothing more be started.
            self._decide(*self._failed)
            self._settle(self._failed[0])
        return not self._decided

    @property
    def _decided(self) -> bool:
        return self._inner is not None

    def _verdict(self) -> EndedCall | None:
        # Those that run may answer yet.
        return None if self._racers else super()._verdict()

    def _start(self, place: Place, timeout: float | None) -> None:
        retry = self._rpc.config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        trial, used, inner = self._put(place, timeout, hedge=bool(self._racers))
        expires_at = None if limit is None else time.monotonic() + limit
        self._racers[inner] = _Racer(trial, used, expires_at, self._current)
        self._owed = False
        self._listen(inner, trial, place)
        self._watch(inner)

    def _watch(self, inner: RpcCall) -> None:
        """Have somebody wait for a first response, if grpc tells nobody."""

    def _expire(self) -> None:
        now = time.monotonic()
        for inner, racer in self._racers.items():
            if racer.expires_at is not None and racer.expires_at <= now:
                self._expired = inner
                inner.cancel()

    def _judged_apart(self, inner: RpcCall, backend: Backend) -> bool:
        evidence = suspected(backend, inner)
        return evidence is Evidence.TURNED_AWAY or (self._streams and evidence is not Evidence.NONE)

    def _backend_of(self, inner: RpcCall) -> Backend | None:
        racer = self._racers.get(inner)
        return self._backend if racer is None else racer.trial.backend

    def _settle(self, inner: RpcCall) -> bool:
        with self._settled:
            if inner in self._racers and self._inner is None:
                self._judge(inner)
        return super()._settle(inner)

    def _judge(self, inner: RpcCall, *, answered: bool = False) -> None:
        """Judge an attempt that has ended, or brought its first response. With `_settled`."""
        racer = self._racers.pop(inner)
        if answered or inner.code() is _OK:
            self._rpc.succeeded()
            self._decide(inner, racer)
        elif self._goes_on(inner, racer):
            self._search_on()
        elif inner is self._expired:
            rpc = self._rpc
            why = rpc.repeats.too_slow
            self._end(self._method.driver.end("DEADLINE_EXCEEDED", why, rpc))
        else:
            self._decide(inner, racer)

    def _goes_on(self, inner: RpcCall, racer: _Racer) -> bool:
        """Whether the RPC goes on after the failure of an attempt."""
        rpc, trial, driver = self._rpc, racer.trial, self._method.driver
        expired = inner is self._expired
        code, details = inner.code().name, inner.details() or ""
        if expired:
            code, details = "DEADLINE_EXCEEDED", rpc.repeats.too_slow
        repeatable = self._repeatable() and not driver.closed
        if repeatable and not expired and may_repeat(driver, trial.backend, inner, racer.used):
            rpc.end(trial, code, ours=True)
            rpc.repeats.note(trial.backend.address, Status(code, details))
            self._owed = True
            return True
        trailing = inner.trailing_metadata()
        rpc.end(trial, code, trailing, details=details)
        repeats, address = rpc.repeats, trial.backend.address
        status = Status(code, details, (), trailing)
        if repeats.hedges is not None:
            if not repeatable:
                repeats.hedges.stop()
            self._failed = (inner, racer)
            return repeats.hedge_failed(address, status) is not Verdict.FINAL
        delay = None
        if repeatable:
            delay = repeats.again(address, status, expired=expired)
        if delay is None:
            return False
        self._resume_at = time.monotonic() + delay
        self._owed = True
        return True

    def _decide(self, inner: RpcCall, racer: _Racer) -> None:
        """Have one attempt be the call, and cancel the others. With `_settled`."""
        self._trial, self._used = racer.trial, racer.used
        self._backend = racer.trial.backend
        self._set(inner)
        self._cancel_racers()
        self._method.driver.undefer(self)

    def _cancel_racers(self) -> None:
        # One by one: those that an exception leaves here are judged when they end.
        for inner, racer in list(self._racers.items()):
            self._rpc.end(racer.trial, "CANCELLED", ours=True)
            inner.cancel()
            self._racers.pop(inner, None)

    def _again(self, inner: RpcCall) -> bool:
        rpc, trial = self._rpc, self._trial
        if trial is not None:
            code, details = inner.code().name, inner.details() or ""
            trailing = inner.trailing_metadata()
            rpc.end(trial, code, trailing, details=details, ours=self._cancelled)
        return False

    def _end(self, ended: EndedCall) -> None:
        self._cancel_racers()
        super()._end(ended)


class RacingStreamCall(RacingCall, RetriedStreamCall):
    """The same with a stream of responses."""

    _first: tuple[object] | None = None

    def _watch(self, inner: RpcCall) -> None:
        read = partial(self._read_first, inner)
        threading.Thread(target=read, name="lookaside-first", daemon=True).start()

    def _read_first(self, inner: RpcCall) -> None:
        try:
            first = next(inner)
        except (grpc.RpcError, StopIteration):
            self._is_final(inner)
            return
        with self._settled:
            if inner not in self._racers or self._inner is not None:
                return
            self._first = (first,)
            self._received = True
            self._judge(inner, answered=True)
        if not inner.is_active():
            self._is_final(inner)

    def finished(self, inner: RpcCall) -> None:
        """An attempt ended. Called on grpc's own thread."""
        # Before it is decided, the thread that reads judges.
        if self._inner is inner:
            super().finished(inner)

    def __next__(self) -> object:
        self._await()
        with self._settled:
            first, self._first = self._first, None
        return super().__next__() if first is None else first[0]


class RacingRequestStreamCall(RacingCall, RetriedRequestStreamCall):
    """The same with a stream of requests."""

    def _begin_attempts(self, timeout: float | None) -> None:
        self._beside = self._rpc.config.hedging is not None
        super()._begin_attempts(timeout)

    def _decide(self, inner: RpcCall, racer: _Racer) -> None:
        super()._decide(inner, racer)
        if self._requests is not None and racer.requests is not None:
            self._requests.only(racer.requests)


class RacingStreamStreamCall(RacingRequestStreamCall, RacingStreamCall):
    """The same with a stream of requests and a stream of responses."""
