import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import grpc
import pytest

from client_resolver.telemetry.observer import Attempt, Observer
from tests.client_resolver.sync.loopback import BOUND, RETRY, Backend, config, echo, failing

Start = Callable[..., Backend]
Connect = Callable[..., Any]

KINDS: dict[str, tuple[str, Any, list[bytes]]] = {
    "unary_unary": ("UU", b"a", [b"a"]),
    "unary_stream": ("US", b"a", [b"a"]),
    "stream_unary": ("SU", [b"a", b"b"], [b"ab"]),
    "stream_stream": ("SS", [b"a", b"b"], [b"a", b"b"]),
}
PER_ATTEMPT = {**RETRY, "perAttemptRecvTimeout": "0.1s"}


class Count(Observer):
    attempts = 0

    def attempt_started(self, attempt: Attempt) -> None:
        assert attempt.number == self.attempts
        self.attempts += 1


def begin(channel: Any, kind: str, **kwargs: Any) -> Any:
    name, request, _ = KINDS[kind]
    multicallable = getattr(channel, kind)(f"/t.T/{name}")
    if kind.startswith("stream"):
        request = iter(request)
    kwargs.setdefault("timeout", 20)
    make = multicallable.future if kind.endswith("unary") else multicallable
    return make(request, **kwargs)


def responses(call: Any, kind: str) -> list[bytes]:
    return [call.result(20)] if kind.endswith("unary") else list(call)


def nothing_left(channel: Any) -> bool:
    """Whether no backend carries an RPC and the breaker counts none, within the bound."""
    driver = channel._driver

    def nothing() -> bool:
        breaker = driver.rpcs.breaker
        carried = sum(len(one.in_flight) for one in driver.runner.machine.pool)
        return not (carried or breaker.requests or breaker.pending or breaker.retries)

    return settles(nothing)


def settles(reached: Callable[[], bool]) -> bool:
    """Wait for what another thread is about to bring about."""
    waiting = threading.Event()
    for _ in range(4000):
        if reached():
            return True
        waiting.wait(0.005)
    return reached()


@pytest.fixture
def early_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has each RPC of grpc's own end, and grpc tell that, before it is returned to who began it.

    As on a busy machine, where grpc's thread runs in between.
    """

    def ends_first(begin: Callable[..., Any]) -> Callable[..., Any]:
        def begin_and_end(*args: Any, **kwargs: Any) -> Any:
            call = begin(*args, **kwargs)
            ended = threading.Event()
            while call.add_callback(ended.set):
                assert ended.wait(BOUND)
            return call

        return begin_and_end

    of_grpc = import_module("grpc._channel")
    for kind, form in {
        "UnaryUnary": "future",
        "StreamUnary": "future",
        "UnaryStream": "__call__",
        "SingleThreadedUnaryStream": "__call__",
        "StreamStream": "__call__",
    }.items():
        multicallable = getattr(of_grpc, f"_{kind}MultiCallable")
        monkeypatch.setattr(multicallable, form, ends_first(getattr(multicallable, form)))


# Two attempts are made at once, the last ones after a wait.
EAGER = {**RETRY, "maxAttempts": 5, "initialBackoff": "0.000000001s", "maxBackoff": "0.05s"}
EAGER["backoffMultiplier"] = 1000
HEDGING = {"maxAttempts": 5, "hedgingDelay": "20s", "nonFatalStatusCodes": ["UNAVAILABLE"]}


@pytest.mark.usefixtures("early_ends")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "policy",
    [
        {"retryPolicy": EAGER},
        {"retryPolicy": {**EAGER, "perAttemptRecvTimeout": "20s"}},
        {"hedgingPolicy": HEDGING},
    ],
    ids=["retry", "limited", "hedging"],
)
def test_an_attempt_that_has_ended_before_its_start_returns_is_followed_by_the_next(
    policy: dict[str, object], kind: str, backend: Start, connect: Connect
) -> None:
    bad = backend(failing("UNAVAILABLE", "not now"))
    channel = connect(bad, service_config=config(**policy))
    call = begin(channel, kind)
    assert settles(call.done)
    assert (call.code(), call.details()) == (grpc.StatusCode.UNAVAILABLE, "not now")
    assert len(bad.metadata) == 5
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_tried_again_on_another_backend(
    kind: str, backend: Start, connect: Connect
) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    channel = connect(bad, good, service_config=config(retryPolicy=RETRY))
    for _ in range(4):
        call = begin(channel, kind)
        assert responses(call, kind) == KINDS[kind][2]
        assert call.code() is grpc.StatusCode.OK
    assert bad.metadata
    assert len(good.metadata) == 4
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_an_attempt_of_any_kind_that_takes_too_long_is_given_up(
    kind: str, backend: Start, connect: Connect
) -> None:
    slow, good = backend(), backend()
    slow.script = slow.hold
    # Long enough for a busy machine to answer in, and attempts enough for one that is busier.
    policy = {**RETRY, "maxAttempts": 5, "perAttemptRecvTimeout": "0.5s"}
    channel = connect(slow, good, service_config=config(retryPolicy=policy))
    while not slow.metadata:
        assert responses(begin(channel, kind), kind) == KINDS[kind][2]
    assert good.metadata
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_attempt_that_takes_too_long_is_a_deadline_exceeded(
    kind: str, backend: Start, connect: Connect
) -> None:
    slow = backend()
    slow.script = slow.hold
    count = Count()
    policy = config(retryPolicy=PER_ATTEMPT)
    channel = connect(slow, service_config=policy, observers=[count])
    call = begin(channel, kind)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert count.attempts == 3
    assert nothing_left(channel)


def test_a_stream_goes_on_for_longer_than_an_attempts_time_once_it_answered(
    backend: Start, connect: Connect
) -> None:
    def twice(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        yield from server.hold(requests, context)

    server = backend(twice)
    channel = connect(server, service_config=config(retryPolicy=PER_ATTEMPT))
    call = begin(channel, "unary_stream")
    assert next(call) == b"first"
    server.await_entered()
    # Longer than an attempt is given.
    assert not threading.Event().wait(0.2)
    server.gate.set()
    assert list(call) == [b"a"]
    assert len(server.metadata) == 1


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
def test_a_stream_that_has_answered_is_not_tried_again(
    kind: str, backend: Start, connect: Connect
) -> None:
    def break_off(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")

    server = backend(break_off)
    channel = connect(server, service_config=config(retryPolicy=RETRY))
    call = begin(channel, kind)
    assert next(call) == b"first"
    with pytest.raises(grpc.RpcError, match="broken off"):
        next(call)
    assert len(server.metadata) == 1
    assert nothing_left(channel)


def test_a_conversation_is_replayed_while_its_source_waits_for_an_answer(
    backend: Start, connect: Connect
) -> None:
    def fail_after_one(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(iter(requests))
        context.abort(grpc.StatusCode.UNAVAILABLE, "no")

    bad, good = backend(fail_after_one), backend()
    channel = connect(bad, good, service_config=config(retryPolicy=RETRY))
    for _ in range(4):
        answered = threading.Event()

        def ask(answered: threading.Event = answered) -> Iterator[bytes]:
            yield b"1"
            assert answered.wait(BOUND)
            yield b"2"

        call = channel.stream_stream("/t.T/SS")(ask(), timeout=20)
        assert next(call) == b"1"
        answered.set()
        assert list(call) == [b"2"]
    assert bad.metadata


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [RETRY, None], ids=["retried", "plain"])
def test_an_rpc_that_nobody_refers_to_any_more_is_cancelled(
    kind: str, policy: object, backend: Start, connect: Connect
) -> None:
    server = backend()
    server.script = server.hold
    channel = connect(server, service_config=config(retryPolicy=policy) if policy else None)
    call = begin(channel, kind)
    server.await_entered()
    del call
    gc.collect()
    server.await_left()
    assert nothing_left(channel)


def test_an_rpc_whose_end_somebody_is_to_be_told_goes_on(backend: Start, connect: Connect) -> None:
    server = backend()
    server.script = server.hold
    channel = connect(server, service_config=config(retryPolicy=RETRY))
    told: list[bytes] = []
    done = threading.Event()
    call = begin(channel, "unary_unary")

    def tell(one: Any) -> None:
        told.append(one.result())
        done.set()

    call.add_done_callback(tell)
    server.await_entered()
    del call
    gc.collect()
    server.gate.set()
    assert done.wait(BOUND)
    assert told == [b"a"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_for_the_next_attempt_can_be_cancelled(
    kind: str, backend: Start, connect: Connect
) -> None:
    server = backend(failing("UNAVAILABLE"))
    slow = {**RETRY, "initialBackoff": "60s", "maxBackoff": "60s"}
    channel = connect(server, service_config=config(retryPolicy=slow))
    call = begin(channel, kind)
    server.await_left()
    assert settles(lambda: call._inner is None)
    assert call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled()
    assert nothing_left(channel)


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_ends_a_wait_for_the_next_attempt(
    kind: str, backend: Start, connect: Connect
) -> None:
    server = backend(failing("UNAVAILABLE", "why"))
    slow = {**RETRY, "initialBackoff": "60s", "maxBackoff": "60s"}
    channel = connect(server, service_config=config(retryPolicy=slow))
    call = begin(channel, kind, timeout=0.2)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert f"{server.address} (UNAVAILABLE: why)" in call.details()


def test_closing_ends_a_wait_for_the_next_attempt(backend: Start, connect: Connect) -> None:
    server = backend(failing("UNAVAILABLE"))
    slow = {**RETRY, "initialBackoff": "60s", "maxBackoff": "60s"}
    channel = connect(server, service_config=config(retryPolicy=slow))
    call = begin(channel, "unary_stream")
    server.await_left()
    channel.close()
    assert call.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def test_a_future_that_is_refused_by_a_breaker_has_ended(backend: Start, connect: Connect) -> None:
    limits = {"circuitBreaker": {"maxRequests": 0}}
    channel = connect(backend(), service_config=config(top=limits))
    call = begin(channel, "unary_unary")
    assert call.done()
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    told: list[Any] = []
    call.add_done_callback(told.append)
    assert told == [call]


def test_a_request_that_cannot_be_serialized_fails_its_own_rpc_at_the_call_as_in_plain_grpc(
    backend: Start, connect: Connect
) -> None:
    def refuse(_request: object) -> bytes:
        raise TypeError("no bytes in it")

    server = backend()
    channel = connect(server, connect="lazy")
    with grpc.insecure_channel(server.address) as plain:
        for one in (channel, plain):
            unary: Any = one.unary_unary("/t.T/UU", request_serializer=refuse)
            with pytest.raises(grpc.RpcError) as raised:
                unary.future(b"x", timeout=20)
            assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert begin(channel, "unary_unary").result(20) == b"a"


def test_initial_metadata_that_comes_after_the_status_is_awaited_apart_from_grpcs_thread(
    backend: Start, connect: Connect
) -> None:
    # Every attempt ends with a status that is looked into further, and for that its initial
    # metadata is asked for, which grpc's own thread may only be about to bring.
    server = backend(failing("UNAVAILABLE"))
    channel = connect(server, service_config=config(retryPolicy=RETRY))
    calls = [begin(channel, "unary_stream") for _ in range(50)]
    assert {call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
    assert nothing_left(channel)
    server.script = echo
    assert begin(channel, "unary_unary").result(20) == b"a"


@pytest.mark.parametrize("kind", ["unary_unary", "stream_unary"])
def test_one_multicallable_begins_any_number_of_futures(
    kind: str, backend: Start, connect: Connect
) -> None:
    name, request, (response,) = KINDS[kind]
    multicallable = getattr(connect(backend()), kind)(f"/t.T/{name}")
    for _ in range(3):
        argument = iter(request) if kind.startswith("stream") else request
        assert multicallable.future(argument, timeout=20).result(20) == response
