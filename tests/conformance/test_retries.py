"""Retries by service config (gRFC A6): when, where, how often, and when not."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from client_resolver.testing import Backends, eventually
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance.clients import Client
from tests.conformance.fleet import (
    KINDS,
    TIMEOUT,
    attempts,
    call,
    calls,
    code_of,
    connected,
    details_of,
    failure,
    retrying,
    serving,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
NEVER = "1000s"
TELLING = [("grpc.enable_retries", 0)]
"""Without it, C-core takes away what tells a server how many attempts there were."""


def previous(backends: Backends) -> list[str | bytes | None]:
    """What each attempt told of those before it."""
    return [
        dict(one.metadata).get("grpc-previous-rpc-attempts")
        for backend in backends
        for one in backend.received
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_rpc_is_tried_again_on_a_different_backend(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    client = connect(backends.target, service_config=retrying(maxAttempts=2))
    await connected(client, 2)
    backends[0].fail()
    for _ in range(10):
        assert await call(client, kind) == [b"x"]
    assert backends.calls[0] > 0
    assert backends.calls[1] == 10


@pytest.mark.parametrize("form", ["call", "with_call", "future"])
async def test_each_blocking_form_and_the_future_are_tried_again(
    form: str, shell: str, fleet: Fleet, connect: Connect
) -> None:
    if shell == "aio":
        pytest.skip("grpc.aio has one form only")
    backends = fleet(2)
    client = connect(backends.target, service_config=retrying(maxAttempts=2))
    await connected(client, 2)
    backends[0].fail()

    def make(multicallable: Any, request: Any) -> Any:
        if form == "call":
            return multicallable(request, timeout=20)
        if form == "with_call":
            response, made = multicallable.with_call(request, timeout=20)
            assert made.code() is grpc.StatusCode.OK
            return response
        return multicallable.future(request, timeout=20).result()

    unary, stream, message = client.stub.Unary, client.stub.ClientStream, Message(data=b"x")
    for _ in range(4):
        assert await asyncio.to_thread(make, unary, message) == message
        assert await asyncio.to_thread(make, stream, iter([message])) == message
    assert backends.calls[0] > 0
    assert backends.calls[1] == 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [2, 5])
async def test_no_more_than_the_largest_number_of_attempts_is_made(
    kind: str, most: int, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    for backend in backends:
        backend.fail(details="not now")
    config = retrying(maxAttempts=most)
    client = connect(backends.target, service_config=config, options=TELLING)
    await connected(client, 3)
    error = await failure(client, kind)
    assert (code_of(error), details_of(error)) == (UNAVAILABLE, "not now")
    # With the peers: whether an RPC too many came on another connection than the channel's.
    received = [one for backend in backends for one in backend.received]
    told = ["None", *map(str, range(1, most))]
    assert Counter(map(str, previous(backends))) == Counter(told), received
    assert min(backends.calls) >= most // 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.ABORTED])
async def test_what_the_config_does_not_name_is_tried_once(
    kind: str, code: grpc.StatusCode, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail(code)
    config = retrying() if code is not UNAVAILABLE else {}
    client = connect(backends.target, service_config=config)
    assert code_of(await failure(client, kind)) is code
    assert attempts(backends) == 1


def after_a_message(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield next(requests)
    context.abort(UNAVAILABLE, "half way")


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
async def test_a_stream_that_has_given_a_message_is_not_tried_again(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, serving(after_a_message))
    client = connect(backends.target, service_config=retrying())
    one = client.start(kind, *KINDS[kind], timeout=20)
    assert await one.read() == b"x"
    assert await one.code() is UNAVAILABLE
    assert await one.details() == "half way"
    assert attempts(backends) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_rpc_that_was_answered_with_initial_metadata_is_not_tried_again(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    sent, goes_on = threading.Event(), threading.Event()

    def fail(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        if ("probe", "") not in context.invocation_metadata():
            context.send_initial_metadata((("here", "I am"),))
            sent.set()
            goes_on.wait(TIMEOUT)
            context.abort(UNAVAILABLE, "after metadata")
        return requests

    backends = fleet(1, serving(fail))
    client = connect(backends.target, service_config=retrying())
    one = client.start(kind, *KINDS[kind], timeout=TIMEOUT)
    await asyncio.to_thread(sent.wait, TIMEOUT)
    # What is answered later on the same connection comes after the metadata. Without that, grpc.aio
    # may see the RPC's end first, and keeps no initial metadata that follows it.
    await call(client, metadata=(("probe", ""),))
    goes_on.set()
    assert await one.code() is UNAVAILABLE
    assert await one.details() == "after metadata"
    assert attempts(backends) == 2


def pushing_back(value: str) -> Callable[[grpc.Server], object]:
    def fail(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", value),))
        context.abort(UNAVAILABLE, "pushed back")

    return serving(fail)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["-1", "soon"])
async def test_a_server_may_forbid_another_attempt(
    kind: str, value: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, pushing_back(value))
    client = connect(backends.target, service_config=retrying())
    assert details_of(await failure(client, kind)) == "pushed back"
    assert attempts(backends) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_may_say_when_to_try_again(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, pushing_back("50"))
    config = retrying(initialBackoff=NEVER, maxBackoff=NEVER)
    client = connect(backends.target, service_config=config)
    await connected(client, 2)
    began = time.monotonic()
    assert details_of(await failure(client, kind)) == "pushed back"
    assert attempts(backends) == 3
    assert time.monotonic() - began >= 0.1


async def test_a_throttled_channel_tries_nothing_again_until_rpcs_succeed(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail()
    throttling = {"retryThrottling": {"maxTokens": 4, "tokenRatio": 1}}
    client = connect(backends.target, service_config={**retrying(), **throttling})
    await connected(client, 2)
    # Of four tokens, each failure takes one, and more than half must be left.
    made = []
    for _ in range(4):
        before = attempts(backends)
        await failure(client)
        made.append(attempts(backends) - before)
    assert made == [2, 1, 1, 1]
    backends.recover()
    await calls(client, 4)
    backends.clear_calls()
    for backend in backends:
        backend.fail()
    await failure(client)
    assert attempts(backends) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_the_deadline_ends_the_wait_for_another_attempt(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail(details="not now")
    config = retrying(initialBackoff=NEVER, maxBackoff=NEVER)
    client = connect(backends.target, service_config=config)
    await connected(client, 2)
    error = await failure(client, kind, timeout=0.5)
    assert code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert backends.target in details_of(error)
    (tried,) = [one for one in backends if one.received]
    assert f"{tried.address} (UNAVAILABLE: not now)" in details_of(error)
    assert attempts(backends) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wait_for_another_attempt_can_be_cancelled(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail()
    config = retrying(initialBackoff=NEVER, maxBackoff=NEVER)
    client = connect(backends.target, service_config=config)
    one = client.start(kind, *KINDS[kind], timeout=20)
    await eventually(lambda: attempts(backends) == 1 and not any(b.in_flight for b in backends))
    assert one.call.cancel()
    assert await one.code() is grpc.StatusCode.CANCELLED
    assert attempts(backends) == 1


def counting(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    received = list(requests)
    if "grpc-previous-rpc-attempts" not in dict(context.invocation_metadata()):
        context.abort(UNAVAILABLE, "once more")
    yield str(len(b"".join(received))).encode()


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_a_stream_of_requests_is_given_again_as_it_was(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, serving(counting))
    client = connect(backends.target, service_config=retrying(), options=TELLING)
    requests = [b"x" * 1000] * 100
    assert await client.collect(kind, KINDS[kind][0], requests, timeout=20) == [b"100000"]
    assert attempts(backends) == 2


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_a_stream_of_requests_beyond_the_buffer_is_not_given_again(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2, serving(counting))
    options = [("grpc.per_rpc_retry_buffer_size", 50_000)]
    client = connect(backends.target, service_config=retrying(), options=options)
    with pytest.raises(grpc.RpcError, match="once more"):
        await client.collect(kind, KINDS[kind][0], [b"x" * 1000] * 100, timeout=20)
    assert attempts(backends) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_attempt_that_takes_too_long_is_given_up_for_another(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    # On a busy machine one that is answered takes too long as well: there are more attempts then.
    config = retrying(maxAttempts=5, perAttemptRecvTimeout="0.5s")
    client = connect(backends.target, service_config=config)
    await connected(client, 2)
    backends[0].hang()
    for _ in range(2):
        assert await call(client, kind) == [b"x"]
    assert backends.calls[0] > 0
    assert backends.calls[1] >= 2
    # What was given up has ended at its server.
    await eventually(lambda: backends[0].in_flight == 0)


async def test_with_one_backend_it_is_tried_again_on_that_one(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    backends[0].fail(share=0.5)
    client = connect(backends.target, service_config=retrying())
    await calls(client, 4)
    assert backends.calls[0] >= 6


async def test_a_config_in_grpcs_channel_arguments_is_carried_out_once(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    for backend in backends:
        backend.fail()
    options = [("grpc.service_config", json.dumps(retrying())), ("grpc.enable_retries", 1)]
    client = connect(backends.target, options=options)
    await failure(client)
    assert attempts(backends) == 3
