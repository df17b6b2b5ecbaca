"""RPCs with one response, for which the application's own thread waits."""

# The arguments are those of grpc, and the response is whatever a deserializer makes.
# ruff: noqa: ANN401, PLR0917

from collections.abc import Callable
from time import monotonic
from typing import Any

import grpc

from client_resolver.call.accounting import Rpc
from client_resolver.call.metadata import Metadata, kept
from client_resolver.config.call_arguments import CallArguments, deadline_after
from client_resolver.sync.calls import Unary, count_failure, may_repeat
from client_resolver.sync.connection import READY, Handle
from client_resolver.sync.method import Method
from client_resolver.sync.requests import Requests
from client_resolver.sync.runner import BlockingRunner, Failed

__all__ = ["light", "plain", "whole"]


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
        failed = Failed(backend, used, began, error)
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
    first: Failed | None = None,
) -> Any:
    """Make an RPC by the whole service config, except hedging.

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
    # Before observers receive the RPC.
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
        limit = 0 if config.retry is None else method.driver.rpcs.retry_buffer
        request = Requests(request, limit)  # type: ignore[arg-type]
    refused = rpc.enter()
    if refused is not None:
        raise method.driver.end(refused.code.name, refused.details)
    arguments = CallArguments(request, timeout, None, credentials, wait_for_ready, compression)
    code = "UNKNOWN"
    try:
        runner = BlockingRunner(method, arguments, rpc, deadline, with_call=with_call)
        answer = runner.run(first)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
        raise
    finally:
        rpc.finish(code)
        if isinstance(request, Requests):
            request.end()
    return answer
