"""Runs the call machine on the event loop, for all four kinds of RPC.

No task is made for an RPC: grpc's own done callbacks, timers and the driver's events move it on.
Only an attempt at a stream of responses has one, which waits for the first of them.
"""

# grpc has four kinds of call that have no type in common.
# ruff: noqa: ANN401

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from client_resolver.aio.connection import Backend, Connection, peek
from client_resolver.aio.ended import EndedCall
from client_resolver.aio.method import Method
from client_resolver.aio.requests import Requests
from client_resolver.call import attempt as attempts
from client_resolver.call.accounting import Rpc
from client_resolver.call.attempt import LOCALLY_CANCELLED, Status
from client_resolver.call.machine import CallMachine
from client_resolver.config.call_arguments import CallArguments, check_arguments
from client_resolver.telemetry.dispatch import tell_each

__all__ = ["NOTHING", "Attempt", "Carried", "Runner", "ended_call", "status_of"]

Attempt = attempts.Attempt[Connection, Any]

NOTHING: Final = object()
"""A response was not read."""

_OK = grpc.StatusCode.OK
_OWN = frozenset({None, _OK, grpc.StatusCode.CANCELLED})
"""What grpc's call says at its end when no request can have overwritten it."""
_UNSENT_REQUEST = "Internal error from Core"
_BROKEN_OFF = "the connection was lost before the end of the requests was sent"
_LOOKS = (0.0, 0.001, 0.004, 0.015, 0.06, 0.25)
"""Seconds between looks at a call whose status is to come."""


class Carried:
    """An attempt of a runner's in the count of its backend's RPCs: it brings how it ends.

    Attributes:
        attempt: The attempt.
        why: Why the drain timeout has ended it. None: it has not.
        replaced: grpc's call does not say, or not any more, how the attempt ended.
    """

    __slots__ = ("_ended", "_first", "_runner", "_status", "attempt", "replaced", "why")

    def __init__(self, runner: "Runner", attempt: Attempt) -> None:
        self._runner = runner
        self.attempt = attempt
        self.why: str | None = None
        self.replaced = False
        self._ended = False
        # Waits for the first response of a stream.
        self._first: asyncio.Task[None] | None = None
        self._status: Status | None = None

    def drain(self, why: str) -> None:
        """End it with UNAVAILABLE, unless it has ended."""
        call: Any = self.attempt.call
        if not call.done():
            self.why = why
            call.cancel()

    def await_first(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the stream has something for the application, or ends."""
        self._first = loop.create_task(self._await_first())

    async def _await_first(self) -> None:
        runner, attempt, first = self._runner, self.attempt, NOTHING
        call: Any = attempt.call
        headers = False
        try:
            headers = bool(await call.initial_metadata())
            if not headers:
                first = await call.read()
        except BaseException:  # noqa: BLE001
            # Whatever ended the wait, the loop's own end among it: the call ends with it.
            call.cancel()
        self._first = None
        # A response may be anything: of most messages there is no hash, of some no comparison.
        answered = first is not NOTHING and first is not grpc.aio.EOF
        if answered or (headers and self._status is None):
            runner.answered(attempt, first)
        if self._status is not None:
            runner.ended(attempt, self._status)

    def finished(self, _call: object = None) -> None:
        """The attempt's call has ended."""
        # A request that could not be sent any more ends it a second time.
        if not self._ended:
            self._ended = True
            self._take_status(iter(_LOOKS))

    def _take_status(self, looks: Iterator[float]) -> None:
        """Read what grpc's call has ended with."""
        runner, backend = self._runner, self.attempt.backend
        call: Any = self.attempt.call
        # A server may end a call before it has been sent all requests. grpc then says that one
        # could not be sent, and has what the server said in one of the loop's next turns.
        unsent = peek(call.code()) is not _OK and peek(call.details()) == _UNSENT_REQUEST
        if unsent and (pause := next(looks, None)) is not None:
            asyncio.get_running_loop().call_later(pause, self._take_status, looks)
            return
        backend.in_flight.discard(self)
        if backend.draining and not backend.in_flight:
            runner.driver.drained(backend)
        self._status = status = self._read_status(call)
        if self._first is None:
            runner.ended(self.attempt, status)
        # Otherwise a first response may be on its way.

    def _read_status(self, call: Any) -> Status:
        runner, machine = self._runner, self._runner.machine
        requests = runner.request if isinstance(runner.request, Requests) else None
        code = peek(call.code())
        # A request that can't be sent any more may overwrite what grpc's call says.
        self.replaced = self.why is not None or (requests is not None and code not in _OWN)
        status = status_of(call, self.why, trailing=machine.rpc.wants_trailing)
        ours = machine.cancelled or runner.driver.closed or self.attempt.expired
        if (
            status.details == LOCALLY_CANCELLED
            and requests is not None
            and not (ours or requests.broken or machine.outcome is not None)
        ):
            # grpc cancels a call where the end of its requests can't be sent.
            return Status("UNAVAILABLE", _BROKEN_OFF, status.initial, status.trailing)
        return status


class Runner:
    """Makes the attempts at an RPC that its machine decides on.

    Everything runs on the event loop. grpc calls back in the middle of `cancel`, and at once where
    a call has ended: such an event is recorded, and what follows is left to the loop in `_go_on`
    that is under way below it.

    Args:
        method: The method.
        arguments: What the application called it with.
        rpc: What is accounted for, let in by the circuit breaker.
        deadline: When its time is over, on the loop's clock. None: never.
        request: The one request as bytes, or the stream of them.

    Attributes:
        outcome: The call that everything is asked of: one of grpc's or an `EndedCall`. None: it is
            not decided.
        first: The first response of `outcome`, if it was read. Otherwise `NOTHING`.
        machine: Decides.
        request: See the argument.
        over: The RPC has ended.
        callbacks: Called at its end.
        driver: The channel's.
    """

    def __init__(
        self,
        method: Method[Any],
        arguments: CallArguments,
        rpc: Rpc[Connection],
        deadline: float | None,
        request: "bytes | Requests[Any] | None",
    ) -> None:
        self._method = method
        self.driver = method.driver
        self._loop = asyncio.get_running_loop()
        self._arguments = arguments
        self._deadline = deadline
        self.request = request
        waits = arguments.wait_for_ready
        if waits is None:
            waits = method.config.wait_for_ready
        requests = request if isinstance(request, Requests) else None
        self.machine: CallMachine[Connection, Any] = CallMachine(
            rpc,
            deadline,
            wait_for_ready=bool(waits),
            streams=method.streams_responses,
            requests=requests,
        )
        self.outcome: Any = None
        self.first: object = NOTHING
        self.callbacks: list[Callable[[], None]] = []
        self.over = False
        self._going = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._carried: dict[Attempt, Carried] = {}
        if requests is not None:
            requests.filled = self._filled

    def begin(self) -> None:
        """Start the first attempt, or wait for a backend.

        Raises:
            TypeError: grpc can't use the arguments. It may raise other errors as well.
        """
        try:
            # The starter of a later attempt can't report to the application what grpc refuses.
            check_arguments(self._arguments.credentials, self._arguments.compression)
            self._go_on()
        except BaseException:
            self.machine.cancel()
            self._adopt()
            raise

    def resume(self, attempt: Attempt, why: str | None, *, final: bool) -> None:
        """Begin with an attempt that was made before, and has failed for `why` or by itself.

        With `final` nothing follows it, whatever the policy says.
        """
        self._carried[attempt] = carried = Carried(self, attempt)
        carried.why = why
        if final:
            self.machine.commit()
        self.machine.resume(attempt, self._loop.time())
        carried.finished()

    def cancel(self) -> bool:
        """Cancel the RPC. Return whether it had not ended."""
        cancelled = self.machine.cancel()
        self.advance()
        return cancelled

    def shut(self) -> None:
        """See `client_resolver.aio.driver.Pending`."""
        self.machine.channel_closed()
        self.advance()

    def left(self) -> float | None:
        """How many seconds the RPC has left. None: it has no deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    async def news(self) -> None:
        """Wait until an attempt is started, or one counts, or the RPC ends."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def decided(self) -> Any:
        """Wait for the outcome, and return it."""
        while self.outcome is None:
            await self.news()
        return self.outcome

    def answered(self, attempt: Attempt, first: object = NOTHING) -> None:
        """An attempt's first response came, or initial metadata: it is the RPC's from now on."""
        if attempt in self.machine.running and self.outcome is None:
            self.first = first
            self.machine.answered(attempt)
            self.advance()

    def ended(self, attempt: Attempt, status: Status) -> None:
        """An attempt's call has ended."""
        self.machine.ended(attempt, status, self._loop.time())
        self.advance()

    def advance(self) -> None:
        """Act on the machine's state; an exception becomes INTERNAL: no caller can receive it."""
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001 (a picker or a callable of the user's)
            self.machine.failed(repr(error))
            self._adopt()

    def _go_on(self) -> None:
        if self._going:
            return
        machine, driver = self.machine, self.driver
        self._going, placeless = True, False
        try:
            while not placeless:
                if driver.closed:
                    machine.channel_closed()
                while machine.to_cancel:
                    call: Any = machine.to_cancel.pop().call
                    call.cancel()
                if machine.to_look:
                    suspect = machine.to_look.pop()
                    channel: Any = suspect.connection
                    ready = driver.is_ready(suspect.backend, channel)
                    machine.connection_seen(suspect, ready, self._loop.time())
                elif not machine.starts(self._loop.time()):
                    break
                elif (backend := driver.pick_for(machine.rpc)) is not None:
                    self._start(backend)
                else:
                    machine.no_backend(driver.outlook, self._loop.time())
                    placeless = machine.outcome is None
        finally:
            self._going = False
        self._adopt()
        if machine.outcome is None and (placeless or not machine.running):
            # The driver reports changes, and the channel's end.
            driver.pending.add(self)
        else:
            driver.pending.remove(self)
        self._arm()

    def _start(self, backend: Backend) -> None:
        connection = backend.handle
        assert connection is not None  # noqa: S101
        machine, arguments, channel = self.machine, self._arguments, connection.channel
        beside = bool(machine.running)
        attempt = machine.started(backend, self._loop.time())
        attempt.connection = channel
        request: object = self.request
        if isinstance(request, Requests):
            request = attempt.reader = request.attempt(beside=beside)
        try:
            call: Any = self._method.on(channel)(
                request,
                timeout=attempt.timeout,
                metadata=machine.rpc.metadata,
                credentials=arguments.credentials,
                compression=arguments.compression,
            )
        except BaseException as error:
            why = machine.rpc.explained(f"the RPC could not be started: {error!r}")
            machine.start_failed(attempt, Status("INTERNAL", why))
            raise
        attempt.call = call
        self._carried[attempt] = carried = Carried(self, attempt)
        backend.in_flight.add(carried)
        if self._method.streams_responses:
            carried.await_first(self._loop)
        call.add_done_callback(carried.finished)
        self._tell()

    def _filled(self) -> None:
        # The requests are too many to be kept.
        self.machine.overflowed()
        self.advance()

    def _wake(self) -> None:
        self._timer = None
        self.machine.wake(self._loop.time())
        self.advance()

    def _arm(self) -> None:
        at, timer = self.machine.wake_at, self._timer
        if timer is not None and timer.when() != at:
            timer.cancel()
            self._timer = timer = None
        if timer is None and at is not None:
            self._timer = self._loop.call_at(at, self._wake)

    def _adopt(self) -> None:
        """Hand to the application what the machine has decided."""
        outcome, over = self.machine.outcome, self.machine.over
        if outcome is None or self.over or (self.outcome is not None and not over):
            return
        if isinstance(outcome, Status):
            # grpc.aio ends its calls in the same way where the channel is closed.
            cancelled = outcome.code == "CANCELLED"
            status = Status("CANCELLED", LOCALLY_CANCELLED) if cancelled else outcome
            self.outcome = ended_call(status, locally=cancelled)
        elif outcome.status is not None and self._carried[outcome].replaced:
            self.outcome = ended_call(outcome.status)
        else:
            self.outcome = outcome.call
        requests = self.request if isinstance(self.request, Requests) else None
        if over:
            self.over = True
            self._carried.clear()
            if requests is not None:
                requests.close()
        elif requests is not None and isinstance(outcome, attempts.Attempt):
            requests.commit(outcome.reader)  # type: ignore[arg-type]
        self._tell()
        if over:
            callbacks, self.callbacks = self.callbacks, []
            tell_each(callbacks)

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __repr__(self) -> str:
        at = ", ".join(attempt.backend.address for attempt in self.machine.running)
        return str(self.outcome) if self.over else f"at {at}" if at else "no backend yet"


def status_of(call: Any, why: str | None, *, trailing: bool = True) -> Status:
    """Say how one of grpc's calls has ended.

    Args:
        call: The call.
        why: Why the drain timeout has ended it. None: it has not.
        trailing: Also read the trailing metadata of one that succeeded.
    """
    if why is not None:
        return Status("UNAVAILABLE", why, peek(call.initial_metadata()) or ())
    code = peek(call.code()) or grpc.StatusCode.CANCELLED
    if code is _OK:
        return Status("OK", "", (), (peek(call.trailing_metadata()) or ()) if trailing else ())
    return Status(
        code.name,
        peek(call.details()) or "",
        peek(call.initial_metadata()) or (),
        peek(call.trailing_metadata()) or (),
    )


def ended_call(status: Status, *, locally: bool = False) -> EndedCall[Any, Any]:
    """Make the call that the application gets for an end which no call of grpc's tells of.

    Args:
        status: How it ended.
        locally: Awaiting the call raises `asyncio.CancelledError`.
    """
    initial, trailing = grpc.aio.Metadata(*status.initial), grpc.aio.Metadata(*status.trailing)
    code = grpc.StatusCode[status.code]
    return EndedCall(code, status.details, initial, trailing, locally=locally)
