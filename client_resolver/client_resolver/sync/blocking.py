"""RPCs with one response, for which the application's own thread waits."""

# The arguments are those of grpc, and the response is whatever a deserializer makes.
# ruff: noqa: ANN401, PLR0917

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeAlias

import grpc

from client_resolver.call.accounting import Rpc, Trial
from client_resolver.call.metadata import Metadata, kept
from client_resolver.config.call_arguments import deadline_after
from client_resolver.sync.calls import RpcCall, count_failure, may_repeat
from client_resolver.sync.connection import READY, Backend, Handle, Place, one_of
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests

__all__ = ["Unary", "light", "plain", "whole"]

_Rest: TypeAlias = tuple[grpc.CallCredentials | None, None, grpc.Compression | None]
"""Credentials, `wait_for_ready` and compression, as grpc's multicallables have them in order."""


class Unary(Protocol):
    """grpc's multicallable of a method with one response."""

    def __call__(self, *args: object) -> Any:
        """Make the RPC and return its response."""

    @property
    def with_call(self) -> Callable[..., tuple[Any, grpc.Call]]:
        """Make the RPC and return its response and itself."""

    @property
    def future(self) -> Callable[..., RpcCall]:
        """Begin the RPC."""


def plain(
    method: Method[Unary],
    form: Callable[[Unary], Callable[..., Any]],
    request: object,
    timeout: float | None,
    metadata: Metadata | None,
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
) -> Any:
    """Make an RPC of a method that is plain.

    Args:
        method: The method.
        form: Chooses the multicallable's form.
        request: The request, or `Requests`.
        timeout: In seconds. None: no limit.
        metadata: Sent with it.
        credentials: Sent with it.
        wait_for_ready: Wait also while no backend can be reached. None: as the service config says.
        compression: The request's.

    Raises:
        grpc.RpcError: It failed.
    """
    driver = method.driver
    deadline = deadline_after(monotonic(), timeout)
    if metadata is not None:
        # It may be an iterator, and another attempt would need it.
        metadata = tuple(metadata)
    if wait_for_ready is None:
        wait_for_ready = method.config.wait_for_ready
    place = driver.pick()
    if place is None:
        # Before it waits, as grpc does.
        metadata = None if metadata is None else kept(metadata)
        method.check(request, credentials, compression)
    while True:
        if place is None:
            place = driver.wait(deadline, wait_for_ready=bool(wait_for_ready))
            if deadline is not None:
                timeout = deadline - monotonic()
        argument = request.attempt() if isinstance(request, Requests) else request
        try:
            # The backend's own channel never waits: another may be ready before this one is.
            return form(method.on(place.backend.handle))(
                argument, timeout, metadata, credentials, None, compression
            )
        except grpc.RpcError as error:
            repeatable = not isinstance(request, Requests) or request.repeatable
            if not (repeatable and may_repeat(driver, place.backend, error)):
                count_failure(driver, place.backend, error)
                raise
        finally:
            driver.release(place)
            place = None


@dataclass(frozen=True, slots=True)
class _Failed:
    """The first attempt at an RPC, which has failed.

    Attributes:
        backend: Where it was put.
        used: On which of its connections.
        began: When, on the monotonic clock.
        error: How it ended.
    """

    backend: Backend
    used: Handle | None
    began: float
    error: grpc.RpcError


def light(
    method: Method[Unary],
    request: object,
    timeout: float | None,
    metadata: Metadata | None,
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
) -> Any:
    """Make an RPC of a unary-unary method that is light. See `whole`."""
    driver, config = method.driver, method.config
    picker = driver.outlook.picker
    if metadata is not None:
        # It may be an iterator, and another attempt would need it.
        metadata = tuple(metadata)
    rest = (metadata, credentials, wait_for_ready, compression)
    if picker is None:
        return whole(method, request, timeout, *rest)
    rpcs = driver.rpcs
    backend = picker.pick(rpcs.key(method.path, metadata, request) if rpcs.keyed else 0)
    limit = timeout if config.timeout is None else config.bounded(timeout)
    began = monotonic()
    failed, used, ready = None, None, False
    # As for a plain RPC: see `UnaryUnaryMultiCallable`.
    mark, in_flight = object(), backend.in_flight
    try:
        in_flight.add(mark)
        used = backend.handle
        ready = used is not None and backend.accepting and used.state(False) is READY
        if ready:
            bound = method.bound.get(used) or method.on(used)
            response = bound(request, limit, metadata, credentials, None, compression)
        else:
            driver.observe(backend)
    except grpc.RpcError as error:
        failed = _Failed(backend, used, began, error)
    except BaseException:
        if ready:
            rpcs.tell_end(method.path, backend, "UNKNOWN", monotonic() - began)
        raise
    finally:
        in_flight.discard(mark)
        if backend.draining:
            driver.drained(backend)
    if failed is None and ready:
        rpcs.succeeded(method.path, config, backend, began)
        return response
    return whole(method, request, timeout, *rest, first=failed)


def whole(
    method: Method[Unary],
    request: object,
    timeout: float | None,
    metadata: Metadata | None,
    credentials: grpc.CallCredentials | None,
    wait_for_ready: bool | None,
    compression: grpc.Compression | None,
    *,
    with_call: bool = False,
    first: _Failed | None = None,
) -> Any:
    """Make an RPC that goes by the whole service config, hedging aside.

    Args:
        method: The method.
        request: The request, or the iterator of the requests.
        timeout: In seconds. None: no limit.
        metadata: Sent with it.
        credentials: Sent with it.
        wait_for_ready: Wait also while no backend can be reached. None: as the service config says.
        compression: The request's.
        with_call: Return the response and the call, not the response alone.
        first: The first attempt, if it was made. None: it wasn't.

    Raises:
        grpc.RpcError: It failed.
    """
    config = method.config
    # Before observers are told of the RPC.
    if not method.driver.started or method.driver.closed:
        method.driver.start()
    rpc: Rpc[Handle] = Rpc(method.driver.rpcs, method.path, config, metadata, request)
    if config.timeout is not None:
        timeout = config.bounded(timeout)
    began = rpc.began if first is None else first.began
    deadline = None if timeout is None else deadline_after(began, timeout)
    if wait_for_ready is None:
        wait_for_ready = config.wait_for_ready
    if method.kind == "stream_unary":
        limit = 0 if rpc.retries is None else method.driver.rpcs.retry_buffer
        request = Requests(request, limit)  # type: ignore[arg-type]
    refused = rpc.enter()
    if refused is not None:
        raise method.driver.end(refused.code.name, refused.details)
    code = "UNKNOWN"
    try:
        answer = _attempts(
            method,
            rpc,
            request,
            deadline,
            (credentials, None, compression),
            wait_for_ready=bool(wait_for_ready),
            with_call=with_call,
            first=first,
        )
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
        raise
    finally:
        rpc.finish(code)
        if isinstance(request, Requests):
            request.end()
    return answer


def _attempts(
    method: Method[Unary],
    rpc: Rpc[Handle],
    request: object,
    deadline: float | None,
    rest: _Rest,
    *,
    wait_for_ready: bool,
    with_call: bool,
    first: _Failed | None,
) -> Any:
    """Make attempts until one is the RPC's outcome."""
    driver = method.driver
    if first is not None:
        trial = rpc.resume(first.backend, first.began)
        delay = _again(method, rpc, trial, first.used, first.error, request, deadline)
        if delay is None:
            raise first.error
        if delay:
            _pause(method, rpc, delay, deadline)
    while True:
        place = driver.pick_for(rpc)
        if place is None:
            place = _wait(method, rpc, request, deadline, rest, wait_for_ready)
        trial = rpc.begin(place.backend)
        used = one_of(place.backend.handle)
        try:
            return _attempt(method.on(used), rpc, trial, request, deadline, rest, with_call)
        except grpc.RpcError as error:
            delay = _again(method, rpc, trial, used, error, request, deadline)
            if delay is None:
                raise
        finally:
            driver.release(place)
            if trial.seconds is None:
                rpc.end(trial, "UNKNOWN", ours=True)
        if delay:
            _pause(method, rpc, delay, deadline)


def _wait(
    method: Method[Unary],
    rpc: Rpc[Handle],
    request: object,
    deadline: float | None,
    rest: _Rest,
    wait_for_ready: bool,
) -> Place:
    """Wait for a backend, the first time only for an RPC that grpc will not refuse."""
    if not rpc.attempts:
        credentials, _, compression = rest
        method.check(request, credentials, compression)
    return method.driver.wait(deadline, wait_for_ready=wait_for_ready, rpc=rpc)


def _attempt(
    multicallable: Unary,
    rpc: Rpc[Handle],
    trial: Trial[Handle],
    request: object,
    deadline: float | None,
    rest: tuple[object, ...],
    with_call: bool,
) -> Any:
    """Make one attempt, and take in that it succeeded."""
    argument = request.attempt() if isinstance(request, Requests) else request
    timeout = rpc.bounded(None if deadline is None else deadline - trial.began)
    if not rpc.wants_trailing:
        form = multicallable.with_call if with_call else multicallable
        answer = form(argument, timeout, rpc.metadata, *rest)
        rpc.end(trial, "OK")
    else:
        answer = multicallable.with_call(argument, timeout, rpc.metadata, *rest)
        rpc.end(trial, "OK", answer[1].trailing_metadata())
        if not with_call:
            answer = answer[0]
    rpc.succeeded()
    return answer


def _again(
    method: Method[Unary],
    rpc: Rpc[Handle],
    trial: Trial[Handle],
    used: Handle | None,
    error: Any,
    request: object,
    deadline: float | None,
) -> float | None:
    """Say in how many seconds a failed attempt is followed by another. None: by none.

    Raises:
        EndedCall: The RPC ends otherwise than the attempt did.
    """
    driver = method.driver
    code, details = error.code().name, error.details() or ""
    if rpc.gave_up(code):
        details = rpc.too_slow
    repeatable = not isinstance(request, Requests) or request.repeatable
    if repeatable and may_repeat(driver, trial.backend, error, used):
        rpc.unsent(trial, code, details)
        delay: float | None = 0.0
    else:
        trailing = error.trailing_metadata()
        rpc.end(trial, code, trailing, details=details)
        if not repeatable or error.initial_metadata() or driver.closed:
            return None
        delay = rpc.again(trial, code, details, trailing)
        if delay is None and rpc.gave_up(code):
            raise driver.end(code, details, rpc) from None
    return None if deadline is not None and deadline <= monotonic() else delay


def _pause(method: Method[Unary], rpc: Rpc[Handle], delay: float, deadline: float | None) -> None:
    """Wait until the next attempt.

    Raises:
        EndedCall: The deadline comes before it.
    """
    driver = method.driver
    until = monotonic() + delay
    if deadline is not None and deadline <= until:
        driver.sleep(deadline)
        why = "the deadline passed before the next attempt"
        raise driver.end("DEADLINE_EXCEEDED", why, rpc)
    driver.sleep(until)
