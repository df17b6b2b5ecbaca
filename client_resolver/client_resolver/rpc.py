"""One RPC over all of its attempts, where it is more than a plain call on a picked connection.

Neither shell waits or sends anything here: they tell what happens and are told what follows.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Generic, TypeVar

from client_resolver.core.backend import Backend
from client_resolver.core.breaker import Breaker
from client_resolver.core.hedging import HedgeState, Verdict
from client_resolver.core.load import LoadReport
from client_resolver.core.machine import Machine
from client_resolver.core.model import Failure
from client_resolver.core.retry import PREVIOUS_ATTEMPTS, Retries, Throttle, pushback_in
from client_resolver.keys import key_of
from client_resolver.metadata import Metadata, kept
from client_resolver.observer import Attempt, Observer
from client_resolver.observing import overriding, tell_each
from client_resolver.service_config import MethodConfig, ServiceConfig
from client_resolver.settings import Settings
from client_resolver.wire import LOAD_REPORT, LOAD_REPORT_TEXT, load_report, load_report_text

__all__ = ["Rpc", "Rpcs", "Trial", "bounded", "is_light", "is_plain"]

H = TypeVar("H")

_RETRY_BUFFER = 256 * 1024
"""The default of the channel argument `grpc.per_rpc_retry_buffer_size`, in bytes."""


def is_plain(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether RPCs of a method need nothing but a pick: no `Rpc` is to be made for them."""
    return not (
        _is_involved(settings, config, method)
        or settings.observers
        or (config.outlier is not None and config.outlier.counts)
        or method.timeout is not None
        or method.retry is not None
    )


def is_light(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether RPCs of a method need no `Rpc` unless their first attempt fails.

    What comes of them is told to `Rpcs.succeeded`, or to an `Rpc` that is made then.
    """
    retry = method.retry
    begins = overriding(settings.observers, Observer.rpc_started)
    attempts = overriding(settings.observers, Observer.attempt_started)
    return not (
        _is_involved(settings, config, method)
        or begins
        or attempts
        or (retry is not None and retry.per_attempt_timeout is not None)
    )


def _is_involved(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether something is to be known of an RPC before it is put on a backend."""
    policy = config.policy
    return bool(
        settings.lazy
        or settings.connections_per_backend > 1
        or policy.keyed
        or policy.measured
        or policy.load_reports
        or config.limits.bounds_rpcs
        or method.hedging is not None
    )


def bounded(method: MethodConfig, timeout: float | None) -> float | None:
    """Return the shorter of an RPC's own timeout and its method's, in seconds."""
    if timeout is None or method.timeout is None:
        return method.timeout if timeout is None else timeout
    return min(timeout, method.timeout)


class Rpcs(Generic[H]):
    """What the RPCs of one channel have in common.

    Args:
        settings: The channel's settings.
        machine: Is told how attempts end.
        now: The machine's clock, in seconds.
        rng: Draws keys and jitter.
        lock: Held for every pick and every event of the machine. It is held here as well.
        changed: Called, without the lock, when the machine's outlook is to be published, or a time
            at which it is to be called has come up.

    Attributes:
        breaks: The breaker has a limit: RPCs are to be counted.
        throttles: The throttle has tokens: successes are to be told.
        ends_told: An observer wants to know how RPCs or their attempts end.
        retry_buffer: How many bytes of an RPC's streamed requests are kept for another attempt.
    """

    def __init__(
        self,
        settings: Settings,
        machine: Machine[H],
        *,
        now: Callable[[], float],
        rng: Random,
        lock: AbstractContextManager[object],
        changed: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.now = now
        self.rng = rng
        self.lock = lock
        self.changed = changed
        self.target = settings.target.text
        observers = settings.observers
        self.observers = observers
        # Most observers override a few methods: the rest is not to cost anything.
        self.rpc_starts = overriding(observers, Observer.rpc_started)
        self.rpc_ends = overriding(observers, Observer.rpc_ended)
        self.attempt_starts = overriding(observers, Observer.attempt_started)
        self.attempt_ends = overriding(observers, Observer.attempt_ended)
        self.attempts_told = bool(self.attempt_starts or self.attempt_ends)
        self.breaker = Breaker(settings.config.limits)
        self.throttle = Throttle(settings.config.throttling)
        self.breaks = self.breaker.limits.bounds_rpcs
        self.throttles = settings.config.throttling is not None
        self.ends_told = bool(self.attempt_ends or self.rpc_ends)
        self.retry_buffer = _retry_buffer(settings.options)

    def configure(self, config: ServiceConfig) -> None:
        """See `client_resolver.central.Configured`. It is called with the lock held."""
        self.breaker.limits = config.limits
        self.breaks = config.limits.bounds_rpcs
        self.throttle.configure(config.throttling)
        self.throttles = config.throttling is not None

    def succeeded(self, path: str, config: MethodConfig, backend: Backend[H], began: float) -> None:
        """Take in that the first attempt at an RPC of a light method has succeeded.

        Args:
            path: The method: `/package.Service/Method`.
            config: What the service config says of it.
            backend: Where the attempt was put.
            began: When, on the machine's clock.
        """
        machine = self.machine
        tracked = machine.tracked
        throttles = self.throttles and config.retry is not None
        if not (tracked or throttles or self.ends_told):
            return
        now = self.now()
        seconds = now - began
        if tracked or throttles:
            with self.lock:
                due = tracked and machine.ended(backend, "OK", seconds, None, now)
                if throttles:
                    self.throttle.succeeded()
            if due:
                self.changed()
        if self.ends_told:
            self.tell_end(path, backend, "OK", seconds)

    def tell_end(self, path: str, backend: Backend[H], code: str, seconds: float) -> None:
        """Tell observers of an RPC that has ended with its first attempt."""
        if self.attempt_ends:
            attempt = Attempt(self.target, path, backend.address, 0, False)
            tell_each(self.attempt_ends, attempt, code, seconds)
        if self.rpc_ends:
            tell_each(self.rpc_ends, self.target, path, code, seconds, 1)


class Trial(Generic[H]):
    """One attempt of an RPC on one backend.

    Attributes:
        backend: Where it was put.
        number: 0 for the RPC's first.
        began: When, on the machine's clock.
        seconds: How long it took. None: it has not ended.
    """

    __slots__ = ("attempt", "backend", "began", "number", "seconds")

    def __init__(
        self, backend: Backend[H], number: int, began: float, attempt: Attempt | None
    ) -> None:
        self.backend = backend
        self.number = number
        self.began = began
        self.attempt = attempt
        self.seconds: float | None = None


class Rpc(Generic[H]):
    """Keeps what goes from attempt to attempt, and tells the machine, the breaker and observers.

    After `enter` has returned None, `finish` is to be called once the RPC has ended; more calls of
    it do nothing.

    Args:
        rpcs: The channel's.
        path: `/package.Service/Method`.
        config: What the service config says of the method.
        metadata: The RPC's metadata.
        request: The request, or the iterator of the requests.

    Attributes:
        key: What keyed policies go by. 0: the policy isn't keyed.
        tried: The backends of the attempts so far: the next is to go to another.
        asked: The idle backend that this RPC has had connected. None: it has asked for none.
        retries: Decides over failed attempts. None: there is no retry policy.
        hedges: Decides over attempts side by side. None: there is no hedging policy.
    """

    __slots__ = (
        "_counted",
        "_failures",
        "_finished",
        "_limited",
        "_lock",
        "_metadata",
        "_path",
        "_retrying",
        "_rpcs",
        "_waiting",
        "asked",
        "attempts",
        "began",
        "config",
        "hedges",
        "key",
        "retries",
        "tried",
    )

    def __init__(
        self,
        rpcs: Rpcs[H],
        path: str,
        config: MethodConfig,
        metadata: Metadata | None,
        request: object,
    ) -> None:
        self._rpcs = rpcs
        self._lock = rpcs.lock
        self._path = path
        self.config = config
        self._metadata = metadata if metadata is None else kept(metadata)
        self.began = rpcs.now()
        self.tried: list[Backend[H]] = []
        self.asked: Backend[H] | None = None
        self.attempts = 0
        self.retries: Retries | None = None
        self.hedges: HedgeState | None = None
        if config.retry is not None:
            self.retries = Retries(config.retry, rpcs.throttle, rpcs.rng)
        elif config.hedging is not None:
            self.hedges = HedgeState(config.hedging, rpcs.throttle)
        policy = rpcs.machine.config.policy
        self.key = 0
        if policy.keyed:
            self.key = key_of(
                path,
                self._metadata or (),
                request,
                hash_key=rpcs.settings.hash_key,
                header=policy.request_hash_header,
                rng=rpcs.rng,
            )
        self._failures: list[str] = []
        self._counted = False
        self._limited = False
        self._retrying = 0
        self._waiting = False
        self._finished = False

    def enter(self) -> Failure | None:
        """Count the RPC in. Return why it is refused: then it has ended."""
        rpcs = self._rpcs
        failure = None
        if rpcs.breaks:
            with self._lock:
                failure = rpcs.breaker.enter()
            self._counted = failure is None
        if rpcs.rpc_starts:
            tell_each(rpcs.rpc_starts, rpcs.target, self._path)
        if failure is not None:
            self._finished = True
            self._tell_end(failure.code.name)
        return failure

    def waits(self) -> Failure | None:
        """Take in that there is no backend at this moment. Return why the RPC can't wait."""
        if self._waiting:
            return None
        with self._lock:
            failure = self._rpcs.breaker.begin_pending()
        self._waiting = failure is None
        return failure

    def resume(self, backend: Backend[H], began: float) -> Trial[H]:
        """Take in that an attempt was made without this, and that it has failed.

        `enter` is to have returned None. `end`, `unsent` or `again` is to follow.

        Args:
            backend: Where it was put.
            began: When, on the machine's clock: the RPC began then as well.
        """
        trial = self.begin(backend)
        self.began = trial.began = began
        return trial

    def begin(self, backend: Backend[H], *, hedge: bool = False) -> Trial[H]:
        """Take in that an attempt is put on a backend. `end` or `unsent` is to follow."""
        rpcs = self._rpcs
        number, self.attempts = self.attempts, self.attempts + 1
        self.tried.append(backend)
        if self._waiting:
            self._waits_no_more()
        attempt = None
        if rpcs.attempts_told:
            attempt = Attempt(rpcs.target, self._path, backend.address, number, hedge)
            if rpcs.attempt_starts:
                tell_each(rpcs.attempt_starts, attempt)
        return Trial(backend, number, rpcs.now(), attempt)

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        """The metadata of the attempt that is begun next or was just begun."""
        counts = self.retries or self.hedges
        previous = 0 if counts is None else counts.attempts - 1
        if previous <= 0:
            return self._metadata
        return (*(self._metadata or ()), (PREVIOUS_ATTEMPTS, str(previous)))

    @property
    def now(self) -> Callable[[], float]:
        """The clock."""
        return self._rpcs.now

    @property
    def wants_trailing(self) -> bool:
        """Whether `end` has a use for the trailing metadata of an attempt that succeeded."""
        return self._rpcs.machine.wants_load

    def end(
        self, trial: Trial[H], code: str, trailing: Metadata | None = None, *, ours: bool = False
    ) -> bool:
        """Take in how an attempt ended. Return whether that is new.

        Args:
            trial: The attempt.
            code: The name of its status code.
            trailing: Its trailing metadata, for the backend's load report.
            ours: It was cancelled here: that says nothing of the backend.
        """
        rpcs = self._rpcs
        machine = rpcs.machine
        with self._lock:
            if trial.seconds is not None:
                return False
            now = rpcs.now()
            trial.seconds = seconds = now - trial.began
            due = False
            if machine.tracked and not ours:
                load = _load(trailing, now) if trailing and machine.wants_load else None
                due = machine.ended(trial.backend, code, seconds, load, now)
            changed = due or machine.changed
        if changed:
            rpcs.changed()
        if trial.attempt is not None:
            tell_each(rpcs.attempt_ends, trial.attempt, code, seconds)
        return True

    def unsent(self, trial: Trial[H], code: str, details: str) -> None:
        """Take in that no server took an attempt up: it is to be repeated, and counts for nothing.

        Args:
            trial: The attempt.
            code: The name of its status code.
            details: Its text.
        """
        self.end(trial, code, ours=True)
        self._note(trial, code, details)

    def again(
        self,
        trial: Trial[H],
        code: str,
        details: str,
        trailing: Metadata | None,
        *,
        expired: bool = False,
    ) -> float | None:
        """Decide over an attempt that failed before anything of it reached the application.

        Args:
            trial: The attempt.
            code: The name of its status code.
            details: Its text.
            trailing: Its trailing metadata.
            expired: It was given up after the retry policy's time for an attempt. Also known by
                itself where that time was the attempt's deadline: see `bounded`.

        Returns:
            Seconds until the next attempt. None: the RPC ends as this attempt did.
        """
        if self.retries is None:
            return None
        expired = expired or (self._limited and code == "DEADLINE_EXCEEDED")
        with self._lock:
            self._end_retry()
            if expired:
                delay = self.retries.timed_out()
            else:
                delay = self.retries.failed(code, pushback_in(trailing or ()))
            if delay is None or not self._begin_retry():
                return None
        self._note(trial, code, details)
        return delay

    def hedge(self, now: float) -> bool:
        """Whether another attempt may be started beside those that run. If so, it counts."""
        hedges = self.hedges
        if hedges is None or not hedges.due(now):
            return False
        with self._lock:
            if hedges.attempts and not self._begin_retry():
                hedges.stop()
                return False
            granted = hedges.start(now)
            if not granted:
                self._end_retry()
        return granted

    def hedge_failed(
        self, trial: Trial[H], code: str, details: str, trailing: Metadata | None
    ) -> Verdict:
        """Decide over the failure of one of the attempts that run side by side."""
        hedges = self.hedges
        assert hedges is not None  # noqa: S101
        with self._lock:
            verdict = hedges.failed(code, pushback_in(trailing or ()), self._rpcs.now())
            if self._retrying > hedges.running:
                self._end_retry()
        if verdict is not Verdict.FINAL:
            self._note(trial, code, details)
        return verdict

    def succeeded(self) -> None:
        """Take in that the RPC has its response, or the first of its responses."""
        counts = self.retries or self.hedges
        # Retries do no more than tell the throttle.
        if counts is not None and (self._rpcs.throttles or counts is self.hedges):
            with self._lock:
                counts.succeeded()

    def finish(self, code: str) -> None:
        """Take in how the RPC ended for the application."""
        if self._finished:
            return
        self._finished = True
        if self._counted or self._retrying or self._waiting:
            breaker = self._rpcs.breaker
            with self._lock:
                while self._retrying:
                    self._end_retry()
                if self._waiting:
                    self._waiting = False
                    breaker.end_pending()
                if self._counted:
                    breaker.leave()
        self._tell_end(code)

    def bounded(self, timeout: float | None) -> float | None:
        """Return the shorter of an attempt's time: what the RPC has left, or the policy's."""
        retry = self.config.retry
        limit = None if retry is None else retry.per_attempt_timeout
        self._limited = limit is not None and (timeout is None or limit < timeout)
        return limit if self._limited else timeout

    def explain(self, details: str) -> str:
        """Add to a failure's text what was tried before it, and how that failed."""
        if not self._failures:
            return details
        return f"{details}; tried before: {'; '.join(self._failures)}"

    def _note(self, trial: Trial[H], code: str, details: str) -> None:
        self._failures.append(f"{trial.backend.address} ({code}: {details})")

    def _begin_retry(self) -> bool:
        if self._rpcs.breaker.begin_retry() is not None:
            return False
        self._retrying += 1
        return True

    def _end_retry(self) -> None:
        if self._retrying:
            self._retrying -= 1
            self._rpcs.breaker.end_retry()

    def _waits_no_more(self) -> None:
        with self._lock:
            self._waiting = False
            self._rpcs.breaker.end_pending()

    def _tell_end(self, code: str) -> None:
        rpcs = self._rpcs
        if rpcs.rpc_ends:
            seconds = rpcs.now() - self.began
            target, path = rpcs.target, self._path
            tell_each(rpcs.rpc_ends, target, path, code, seconds, self.attempts)


def _retry_buffer(options: Sequence[tuple[str, object]]) -> int:
    given = dict(options).get("grpc.per_rpc_retry_buffer_size")
    return given if isinstance(given, int) else _RETRY_BUFFER


def _load(trailing: Metadata, now: float) -> LoadReport | None:
    for name, value in trailing:
        if name == LOAD_REPORT and isinstance(value, bytes):
            return load_report(value, now)
        if name == LOAD_REPORT_TEXT and isinstance(value, str):
            return load_report_text(value, now)
    return None
