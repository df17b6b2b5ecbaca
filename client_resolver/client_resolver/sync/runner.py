"""Runs the call machine of an RPC that its own thread waits for.

All of it runs on the application's thread, so that there is no lock: the machine is this thread's
alone. A signal handler may raise between any two steps here. What is counted is given back on the
way out: by `finally`, or as the RPC's record ends.
"""

# A response is whatever a deserializer makes.
# ruff: noqa: ANN401

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeAlias

import grpc

from client_resolver.call import attempt as attempts
from client_resolver.call.accounting import Rpc
from client_resolver.call.attempt import Status
from client_resolver.call.machine import CallMachine
from client_resolver.config.call_arguments import CallArguments
from client_resolver.sync.calls import Unary
from client_resolver.sync.connection import Backend, Handle, Place, one_of
from client_resolver.sync.ended import EndedCall
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = ["BlockingRunner", "Failed"]

Attempt: TypeAlias = attempts.Attempt[Handle, None]

_FAILED: Final = object()
"""Returned instead of a response: the attempt failed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The first attempt at an RPC, which was made before it had a record, and has failed.

    Attributes:
        backend: The backend that it was sent to.
        used: Which of the backend's connections it was on.
        began: When it started, on the monotonic clock.
        error: How it ended.
    """

    backend: Backend
    used: Handle | None
    began: float
    error: grpc.RpcError


class BlockingRunner:
    """One RPC with one response, hedging aside.

    Args:
        method: The method.
        arguments: What the application called it with; a stream of requests as `Requests`.
        rpc: Its record, let in by the circuit breaker.
        deadline: When its time is over, on the monotonic clock. None: never.
        with_call: Return the response and the call, not the response alone.
    """

    def __init__(
        self,
        method: Method[Unary],
        arguments: CallArguments,
        rpc: Rpc[Handle],
        deadline: float | None,
        *,
        with_call: bool,
    ) -> None:
        self._method = method
        self._driver = method.driver
        self._arguments = arguments
        self._rpc = rpc
        self._deadline = deadline
        self._with_call = with_call
        self._error: Any = None
        """How the attempt before has failed."""

    def run(self, first: Failed | None) -> Any:
        """Make attempts until one is the RPC's outcome. Return the response.

        Args:
            first: The first attempt, if it was made. None: it wasn't.

        Raises:
            grpc.RpcError: It failed.
        """
        rpc = self._rpc
        attempt: Attempt | None = None
        if first is not None:
            attempt = rpc.resume(first.backend, first.began)
            attempt.connection, self._error = first.used, first.error
        elif (place := self._driver.pick_for(rpc)) is not None:
            # Most RPCs end here, and need no machine.
            attempt = rpc.begin(place.backend)
            left = None if self._deadline is None else self._deadline - attempt.began
            retry = rpc.config.retry
            attempt.bound(left, None if retry is None else retry.per_attempt_timeout)
            response = self._make(attempt, place)
            if response is not _FAILED:
                rpc.succeeded()
                return response
        return self._go_on(attempt)

    def _go_on(self, attempt: Attempt | None) -> Any:
        """Do what the machine decides, upon a first attempt that has failed, or upon none."""
        request, driver = self._arguments.request, self._driver
        machine: CallMachine[Handle, None] = CallMachine(
            self._rpc,
            self._deadline,
            wait_for_ready=bool(self._arguments.wait_for_ready),
            streams=False,
            requests=request if isinstance(request, Requests) else None,
        )
        if attempt is not None:
            machine.resume(attempt, monotonic())
            self._ended(machine, attempt)
        while machine.outcome is None:
            if driver.closed:
                machine.channel_closed()
            elif machine.to_look:
                suspect = machine.to_look.pop()
                used: Any = suspect.connection
                ready = driver.observe(suspect.backend, used)
                machine.connection_seen(suspect, ready, monotonic())
            elif machine.starts(monotonic()):
                place = driver.pick_for(self._rpc) or self._wait()
                attempt = machine.started(place.backend, monotonic())
                response = self._make(attempt, place)
                if response is not _FAILED:
                    self._rpc.succeeded()
                    return response
                self._ended(machine, attempt)
            elif machine.wake_at is not None:
                driver.sleep(machine.wake_at)
                machine.wake(monotonic())
        outcome = machine.outcome
        if isinstance(outcome, Status):
            raise EndedCall(grpc.StatusCode[outcome.code], outcome.details)
        raise self._error

    def _wait(self) -> Place:
        """Wait for a backend, the first time only for an RPC that grpc will not refuse."""
        request, _, _, credentials, wait_for_ready, compression = self._arguments
        if not self._rpc.attempts:
            self._method.check(request, credentials, compression)
        return self._driver.wait(self._deadline, wait_for_ready=bool(wait_for_ready), rpc=self._rpc)

    def _make(self, attempt: Attempt, place: Place) -> Any:
        """Make an attempt, and account for it if it succeeds. Return the response, or `_FAILED`."""
        rpc = self._rpc
        request, _, _, credentials, _, compression = self._arguments
        failed = False
        try:
            used = attempt.connection = one_of(place.backend.handle)
            multicallable = self._method.on(used)
            if isinstance(request, Requests):
                request = request.attempt()
            rest = (rpc.metadata, credentials, None, compression)
            if rpc.wants_trailing:
                answer = multicallable.with_call(request, attempt.timeout, *rest)
                rpc.end(attempt, "OK", answer[1].trailing_metadata())
                return answer if self._with_call else answer[0]
            form = multicallable.with_call if self._with_call else multicallable
            response = form(request, attempt.timeout, *rest)
            rpc.end(attempt, "OK")
        except grpc.RpcError as error:
            self._error, failed = error, True
            return _FAILED
        else:
            return response
        finally:
            self._driver.release(place)
            if attempt.seconds is None and not failed:
                # Whatever was raised ends the RPC, and says nothing of the backend.
                rpc.end(attempt, "UNKNOWN", ours=True)

    def _ended(self, machine: CallMachine[Handle, None], attempt: Attempt) -> None:
        if self._driver.closed:
            machine.channel_closed()
        error = self._error
        initial, trailing = error.initial_metadata() or (), error.trailing_metadata() or ()
        status = Status(error.code().name, error.details() or "", initial, trailing)
        machine.ended(attempt, status, monotonic())
