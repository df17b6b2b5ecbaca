"""One RPC over all of its attempts on the event loop, where it is more than a plain call.

No task is made for it: grpc's own done callbacks, timers and the driver's news move it on. Only a
stream of responses has one, which waits for the first of them.
"""

# The arguments are those of grpc, in its order.
# ruff: noqa: ANN401, PLR0917

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from client_resolver.aio.attempt import LOCALLY_CANCELLED, Attempt, Failed
from client_resolver.aio.connection import Backend, Connection, peek
from client_resolver.aio.ended import EndedCall
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.call.accounting import Rpc
from client_resolver.config.call_arguments import check_arguments, deadline_after
from client_resolver.core.model import Failure
from client_resolver.core.replay import Evidence, weigh
from client_resolver.telemetry.dispatch import tell_each

__all__ = ["NOTHING", "Attempts"]

NOTHING: Final = object()
"""In the place of a response: none was read."""

_OK = grpc.StatusCode.OK
_CANCELLED = grpc.StatusCode.CANCELLED
_SECOND_LOOKS = (0.001, 0.004, 0.015)
"""Seconds between looks at a connection that should turn out to be gone: a server's GOAWAY may come
after the RPCs that it turned away."""


class Attempts:
    """Makes the attempts at an RPC until one counts: `outcome` is that one's call from then on.

    An attempt counts that succeeds, that has had a response or initial metadata, or that fails for
    good.

    Args:
        method: The method.
        request: The request, or the requests as `Requests`.
        timeout: The application's bound in seconds. None: none.
        metadata: The RPC's metadata.
        credentials: Its call credentials.
        wait_for_ready: As the application has it. None: as the service config has it.
        compression: Its compression.
        rpc: What is known of the RPC already. None: nothing.

    Attributes:
        outcome: The call that everything is asked of: one of grpc's or an `EndedCall`. None: it is
            not decided.
        first: The first response of `outcome`, if it was read. Otherwise `NOTHING`.
        running: The attempts that have not ended.
        ended: The RPC has ended.
        cancelled: The application has cancelled it.
        callbacks: Called at its end.
    """

    __slots__ = (
        "_arguments",
        "_deadline",
        "_looks",
        "_resting",
        "_tasks",
        "_timer",
        "_unplaced",
        "_waiters",
        "_waits_for_ready",
        "callbacks",
        "cancelled",
        "driver",
        "ended",
        "first",
        "loop",
        "method",
        "outcome",
        "request",
        "rpc",
        "running",
    )

    def __init__(
        self,
        method: Method[Any],
        request: object,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
        rpc: Rpc[Connection] | None = None,
    ) -> None:
        self.method = method
        self.driver = driver = method.driver
        self.loop = loop = asyncio.get_running_loop()
        config = method.config
        if config.timeout is not None:
            timeout = config.timeout if timeout is None else min(timeout, config.timeout)
        self._deadline = deadline_after(loop.time(), timeout)
        if wait_for_ready is None:
            wait_for_ready = config.wait_for_ready
        self._waits_for_ready = bool(wait_for_ready)
        self.request = request
        self._arguments = (credentials, compression)
        self.rpc = rpc or Rpc(driver.rpcs, method.path, config, metadata, request)
        self.outcome: Any = None
        self.first: object = NOTHING
        self.running: list[Attempt] = []
        self.ended = False
        self.callbacks: list[Callable[[], None]] = []
        self.cancelled = False
        self._looks: dict[Attempt, asyncio.TimerHandle] = {}
        self._resting = False
        self._unplaced = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: list[asyncio.Future[None]] = []
        if isinstance(request, Requests):
            request.filled = self._filled

    def begin(self) -> None:
        """Start the first attempt, or wait for a backend.

        Raises:
            TypeError: grpc can't use the arguments. It may raise other errors as well.
        """
        failure = self.rpc.enter()
        if failure is None:
            self.go_on()
        else:
            self.refuse(failure)

    def go_on(self) -> None:
        """Do as `begin` for an RPC that is counted in already."""
        try:
            # Whoever starts a later attempt can't tell the application of what grpc refuses.
            check_arguments(*self._arguments)
            if not self.method.streams_requests:
                self.request = self.method.serialized(self.request)
            self._begin()
        except BaseException:
            self._end(EndedCall(_CANCELLED, "", locally=True))
            raise

    def refuse(self, failure: Failure) -> None:
        """End the RPC before it has an attempt."""
        code = grpc.StatusCode[failure.code.value]
        self._end(EndedCall(code, self._explain(failure.details)))

    def resume(self, failed: Failed) -> None:
        """Begin with an attempt that has ended and failed, in the place of the first one."""
        if not self.method.streams_requests:
            self.request = failed.message
        trial = failed.trial
        refused = None
        if trial is None:
            refused = self.rpc.enter()
            trial = self.rpc.begin(failed.backend)
        attempt = Attempt(self, trial, failed.channel, failed.inner, None)
        final = failed.final or refused is not None
        attempt.take_status(lambda: self._resumed(attempt, final=final))

    def _resumed(self, attempt: Attempt, *, final: bool) -> None:
        if attempt.details == LOCALLY_CANCELLED:
            self.cancelled = True
        if self.outcome is not None:
            self._account(attempt)
        elif final:
            self._account(attempt)
            self._settle(attempt)
        else:
            self._conclude(attempt)

    def advance(self) -> None:
        """See `client_resolver.aio.driver.Pending`."""
        if self._resting:
            return
        self._stop_timer()
        self._guard(self._place)

    def shut(self) -> None:
        """See `client_resolver.aio.driver.Pending`."""
        if not self.running:
            self._end(EndedCall(_CANCELLED, LOCALLY_CANCELLED, locally=True))

    def cancel(self) -> bool:
        """Cancel the RPC. Return whether it had not ended."""
        if self.ended:
            return False
        self.cancelled = True
        if self.outcome is not None:
            return bool(self.outcome.cancel())
        self._end(EndedCall(_CANCELLED, LOCALLY_CANCELLED, locally=True))
        return True

    def left(self) -> float | None:
        """How many seconds the RPC has left. None: it has no deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self.loop.time())

    @property
    def sends(self) -> bool:
        """See `client_resolver.aio.attempt.Owner`."""
        if self.cancelled or self.driver.closed or self.outcome is not None:
            return False
        return isinstance(self.request, Requests) and not self.request.broken

    async def news(self) -> None:
        """Wait until an attempt is started, or one counts, or the RPC ends."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def commit(self, attempt: Attempt, first: object = NOTHING) -> None:
        """Take an attempt for the one that counts: something of it reaches the application."""
        self.first = first
        attempt.keep()
        self.rpc.succeeded()
        self._settle(attempt)

    def finished(self, attempt: Attempt) -> None:
        """Take in that an attempt's call has ended."""
        self.running.remove(attempt)
        if attempt.lost:
            self.rpc.end(attempt.trial, _CANCELLED.name, ours=True)
        elif self.outcome is not None:
            self._account(attempt)
            self._finish(attempt.code or _CANCELLED)
        elif attempt.read or not self.method.streams_responses:
            self._conclude(attempt)

    def _begin(self) -> None:
        self._unplaced = 1
        self._place()

    def _guard(self, place: Callable[[], None]) -> None:
        """Do what starts attempts where the application can't be told what is raised by it."""
        try:
            place()
        except Exception as error:  # noqa: BLE001 (a picker or a callable of the user's)
            text = self._explain(f"the RPC could not be started: {error!r}")
            self._end(EndedCall(grpc.StatusCode.INTERNAL, text))

    def _place(self) -> None:
        """Put the attempts that have no backend yet on backends."""
        while self._unplaced and self.outcome is None:
            left = self.left()
            if left is not None and left <= 0:
                why = self._explain(self.driver.outlook.overdue("the next attempt"))
                self._end(EndedCall(grpc.StatusCode.DEADLINE_EXCEEDED, why))
                return
            backend = self.driver.pick_for(self.rpc)
            if backend is None:
                self._wait(left)
                return
            self._unplaced -= 1
            self._start(backend, left)
        if not self._looks:
            self.driver.placed(self)

    def _wait(self, left: float | None) -> None:
        failure = None if self._waits_for_ready else self.driver.failure()
        if not self.running:
            failure = failure or self.rpc.waits()
            if failure is not None:
                self.refuse(failure)
                return
        self.driver.pending[self] = None
        self._stop_timer()
        if left is not None:
            self._timer = self.loop.call_later(left, self.advance)

    def _start(self, backend: Backend, left: float | None) -> None:
        connection = backend.handle
        assert connection is not None  # noqa: S101
        channel, rpc, method = connection.channel, self.rpc, self.method
        request, reader = self.request, None
        if isinstance(request, Requests):
            request = reader = request.attempt(beside=bool(self.running))
        trial = rpc.begin(backend, hedge=bool(self.running))
        limit = None if rpc.config.retry is None else rpc.config.retry.per_attempt_timeout
        if limit is not None and not method.streams_responses:
            left = rpc.bounded(left)
        credentials, compression = self._arguments
        try:
            inner: Any = method.on(channel)(
                request,
                timeout=left,
                metadata=rpc.metadata,
                credentials=credentials,
                compression=compression,
            )
        except BaseException:
            rpc.end(trial, grpc.StatusCode.INTERNAL.name, ours=True)
            raise
        attempt = Attempt(self, trial, channel, inner, reader)
        backend.in_flight.add(object())
        self.running.append(attempt)
        inner.add_done_callback(attempt.finished)
        if method.streams_responses:
            if limit is not None:
                attempt.expire_after(limit)
            task = self.loop.create_task(self._await_first(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._waiters:
            self._tell()

    async def _await_first(self, attempt: Attempt) -> None:
        """Wait until a stream has something for the application, or ends."""
        inner, first = attempt.inner, NOTHING
        headers = False
        try:
            headers = bool(await inner.initial_metadata())
            if not headers:
                first = await inner.read()
        except BaseException:  # noqa: BLE001
            # Whatever ended the wait, the loop's own end among it: the call ends with it.
            inner.cancel()
        attempt.read = True
        if attempt.lost or self.outcome is not None:
            return
        # A response may be anything: of most messages there is no hash, of some no comparison.
        answered = first is not NOTHING and first is not grpc.aio.EOF
        if answered or (headers and attempt.code is None):
            self.commit(attempt, first)
        elif attempt.code is not None:
            self._conclude(attempt)

    def _conclude(self, attempt: Attempt) -> None:
        """Judge an attempt that has ended before it counted."""
        if attempt.code is _OK:
            self._account(attempt)
            self.rpc.succeeded()
            self._settle(attempt)
        elif attempt.expired or not self._repeatable():
            self._judge(attempt)
        else:
            self._weigh(attempt, iter(_SECOND_LOOKS))

    def _weigh(self, attempt: Attempt, looks: Iterator[float]) -> None:
        self._looks.pop(attempt, None)
        backend = attempt.trial.backend
        code = attempt.code or _CANCELLED
        evidence = weigh(
            code.name,
            attempt.details,
            metadata=bool(attempt.initial or attempt.trailing),
            address=backend.endpoint.address,
        )
        if evidence is Evidence.UNSENT:
            backend.last_error = attempt.details
        if evidence is Evidence.NONE or not self._repeatable():
            self._judge(attempt)
        elif not self.driver.is_ready(backend, attempt.channel):
            self.rpc.unsent(attempt.trial, code.name, attempt.details)
            self._unplaced += 1
            self.advance()
        elif evidence is Evidence.TURNED_AWAY and (pause := next(looks, None)) is not None:
            self.driver.pending[self] = None
            self._looks[attempt] = self.loop.call_later(pause, self._weigh, attempt, looks)
        else:
            self._judge(attempt)

    def _judge(self, attempt: Attempt) -> None:
        """Decide over an attempt that has failed, and that a server may have taken up."""
        self._account(attempt)
        if self._repeatable() and not attempt.initial:
            self._failed(attempt)
        else:
            self._settle(attempt)

    def _failed(self, attempt: Attempt) -> None:
        code = attempt.code or _CANCELLED
        delay = self.rpc.again(
            attempt.trial, code.name, attempt.details, attempt.trailing, expired=attempt.expired
        )
        if delay is None:
            self._settle(attempt)
            return
        self._unplaced += 1
        left = self.left()
        self._rest(delay if left is None else min(delay, left))

    def _repeatable(self) -> bool:
        if self.cancelled or self.driver.closed:
            return False
        return not isinstance(self.request, Requests) or self.request.repeatable

    def _account(self, attempt: Attempt) -> None:
        rpc, code = self.rpc, attempt.code or _CANCELLED
        if attempt.expired:
            code = grpc.StatusCode.DEADLINE_EXCEEDED
        trailing = attempt.trailing
        if code is grpc.StatusCode.OK and rpc.wants_trailing:
            trailing = peek(attempt.inner.trailing_metadata())
        broken = isinstance(self.request, Requests) and self.request.broken
        ours = code is _CANCELLED and (self.cancelled or broken or self.driver.closed)
        rpc.end(attempt.trial, code.name, trailing, details=attempt.details, ours=ours)

    def _filled(self) -> None:
        """Take in that no attempt can follow: the requests are too many to be kept."""
        if self.outcome is None and self.running:
            self._unplaced = 0
            for other in self.running[:-1]:
                other.lose()

    def _rest(self, seconds: float) -> None:
        """Place the next attempt after so many seconds."""
        self._resting = True
        self.driver.pending[self] = None
        self._timer = self.loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._resting = False
        self._timer = None
        self.advance()

    def _explain(self, reason: str) -> str:
        return self.driver.settings.explain(self.rpc.explain(reason))

    def _settle(self, attempt: Attempt) -> None:
        """Let an attempt count, whether it has ended or not."""
        if attempt.expired:
            text = self._explain("no response within the time that an attempt has")
            self._end(EndedCall(grpc.StatusCode.DEADLINE_EXCEEDED, text))
            return
        inner, code = attempt.inner, attempt.code
        if self.method.streams_requests and code not in {None, _OK, _CANCELLED}:
            # A request that can't be sent any more may overwrite what grpc's call says.
            inner = EndedCall(code, attempt.details, attempt.initial, attempt.trailing)
        self.outcome = inner
        self._let_go(attempt)
        if attempt.code is not None:
            self._finish(attempt.code)
        else:
            if isinstance(self.request, Requests):
                self.request.commit(attempt.reader)
            self._tell()

    def _end(self, ended: EndedCall[Any, Any]) -> None:
        self.outcome = ended
        self._let_go(None)
        self._finish(ended.status)

    def _let_go(self, chosen: Attempt | None) -> None:
        self._stop_timer()
        for look in self._looks.values():
            look.cancel()
        self._looks.clear()
        self.driver.placed(self)
        for attempt in list(self.running):
            if attempt is not chosen:
                attempt.lose()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, code: grpc.StatusCode) -> None:
        self.ended = True
        self.rpc.finish(code.name)
        if isinstance(self.request, Requests):
            self.request.close()
        self._tell()
        callbacks, self.callbacks = self.callbacks, []
        tell_each(callbacks)

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
