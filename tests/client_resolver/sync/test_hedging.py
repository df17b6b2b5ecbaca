import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from client_resolver.telemetry.observer import Attempt, Observer
from tests.client_resolver.sync.loopback import BOUND, Backend, config, echo, failing
from tests.client_resolver.sync.test_attempts import KINDS, begin, nothing_left, responses

Start = Callable[..., Backend]
Connect = Callable[..., Any]

AT_ONCE = {"maxAttempts": 3}
NEVER = {"maxAttempts": 3, "hedgingDelay": "60s", "nonFatalStatusCodes": ["UNAVAILABLE"]}


class Hedges(Observer):
    def __init__(self) -> None:
        self.hedges: list[bool] = []

    def attempt_started(self, attempt: Attempt) -> None:
        self.hedges.append(attempt.hedge)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_answer_counts_and_the_others_are_cancelled(
    kind: str, backend: Start, connect: Connect
) -> None:
    slow = [backend(), backend()]
    for server in slow:
        server.script = server.hold

    def last(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for server in slow:
            server.await_entered()
        yield from echo(requests, context)

    good = backend(last)
    seen = Hedges()
    policy = config(hedgingPolicy=AT_ONCE)
    channel = connect(*slow, good, service_config=policy, observers=[seen])
    call = begin(channel, kind)
    assert responses(call, kind) == KINDS[kind][2]
    assert call.code() is grpc.StatusCode.OK
    assert seen.hedges == [False, True, True]
    assert nothing_left(channel)
    assert len(good.metadata) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_that_is_not_fatal_starts_the_next_attempt_at_once(
    kind: str, backend: Start, connect: Connect
) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    channel = connect(bad, good, service_config=config(hedgingPolicy=NEVER))
    for _ in range(3):
        assert responses(begin(channel, kind), kind) == KINDS[kind][2]
    assert bad.metadata
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fatal_failure_ends_the_rpc(kind: str, backend: Start, connect: Connect) -> None:
    slow, bad = backend(), backend(failing("NOT_FOUND", "nowhere"))
    slow.script = slow.hold
    channel = connect(slow, bad, service_config=config(hedgingPolicy=AT_ONCE))
    call = begin(channel, kind)
    assert call.code() is grpc.StatusCode.NOT_FOUND
    assert call.details() == "nowhere"
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_when_all_attempts_fail_the_rpc_ends_as_the_last(
    kind: str, backend: Start, connect: Connect
) -> None:
    servers = [backend(failing("UNAVAILABLE", "no")) for _ in range(3)]
    channel = connect(*servers, service_config=config(hedgingPolicy=NEVER))
    call = begin(channel, kind)
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert call.details() == "no"
    assert [len(server.metadata) for server in servers] == [1, 1, 1]
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hedged_rpc_can_be_cancelled(kind: str, backend: Start, connect: Connect) -> None:
    servers = [backend(), backend()]
    for server in servers:
        server.script = server.hold
    channel = connect(*servers, service_config=config(hedgingPolicy={"maxAttempts": 2}))
    call = begin(channel, kind)
    for server in servers:
        server.await_entered()
    assert call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled()
    assert nothing_left(channel)


def test_blocking_forms_are_hedged(backend: Start, connect: Connect) -> None:
    slow, good = backend(), backend()
    slow.script = slow.hold
    channel = connect(slow, good, service_config=config(hedgingPolicy=AT_ONCE))
    assert channel.unary_unary("/t.T/UU")(b"x", timeout=20) == b"x"
    response, call = channel.stream_unary("/t.T/SU").with_call(iter([b"a", b"b"]), timeout=20)
    assert response == b"ab"
    assert call.code() is grpc.StatusCode.OK
    assert nothing_left(channel)


def test_the_deadline_ends_all_attempts(backend: Start, connect: Connect) -> None:
    servers = [backend(), backend()]
    for server in servers:
        server.script = server.hold
    channel = connect(*servers, service_config=config(hedgingPolicy=AT_ONCE))
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/UU")(b"x", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert nothing_left(channel)


def test_a_breaker_bounds_the_hedges(backend: Start, connect: Connect) -> None:
    server = backend()
    server.script = server.hold
    limits = {"circuitBreaker": {"maxRetries": 1}}
    channel = connect(server, service_config=config(hedgingPolicy=AT_ONCE, top=limits))
    call = begin(channel, "unary_unary")
    server.await_entered()
    server.await_entered()
    server.gate.set()
    assert call.result(20) == b"a"
    assert len(server.metadata) == 2
    assert nothing_left(channel)


def test_a_stream_goes_on_with_the_attempt_that_answered_first(
    backend: Start, connect: Connect
) -> None:
    def slowly(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        yield from good.hold(requests, context)

    slow, good = backend(), backend()
    slow.script, good.script = slow.hold, slowly
    channel = connect(slow, good, service_config=config(hedgingPolicy=AT_ONCE))
    done = threading.Event()
    call = begin(channel, "unary_stream")
    call.add_done_callback(lambda _: done.set())
    assert next(call) == b"first"
    good.await_entered()
    good.gate.set()
    assert list(call) == [b"a"]
    assert done.wait(BOUND)
    assert nothing_left(channel)
