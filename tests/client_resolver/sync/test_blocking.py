from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from client_resolver.telemetry.observer import Attempt, Observer
from tests.client_resolver.sync.loopback import RETRY, Backend, config, echo, failing

PREVIOUS = "grpc-previous-rpc-attempts"

Start = Callable[..., Backend]
Connect = Callable[..., Any]


class Notes(Observer):
    def __init__(self) -> None:
        self.attempts: list[tuple[str, int, str]] = []
        self.rpcs: list[tuple[str, str, int]] = []

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        assert seconds > 0
        self.attempts.append((attempt.backend, attempt.number, code))

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:
        assert seconds > 0
        self.rpcs.append((method, code, attempts))


def unary(channel: Any) -> Any:
    return channel.unary_unary("/t.T/UU")


def test_a_failed_rpc_is_tried_again_on_another_backend(backend: Start, connect: Connect) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    call = unary(connect(bad, good, service_config=config(retryPolicy=RETRY)))
    assert [call(b"x", timeout=20) for _ in range(6)] == [b"x"] * 6
    assert len(good.metadata) == 6
    assert 3 <= len(bad.metadata) <= 6


def test_an_attempt_tells_how_many_there_were_before_it(backend: Start, connect: Connect) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    # C-core takes the key away where it might itself retry.
    options = [("grpc.enable_retries", 0)]
    policy = config(retryPolicy=RETRY)
    call = unary(connect(bad, good, service_config=policy, options=options))
    while not bad.metadata:
        good.metadata.clear()
        call(b"x", timeout=20)
    assert [m.get(PREVIOUS) for m in (*bad.metadata, *good.metadata)] == [None, "1"]


def test_the_last_attempts_own_status_is_the_rpcs(backend: Start, connect: Connect) -> None:
    servers = [backend(failing("UNAVAILABLE", f"reason {n}")) for n in range(3)]
    call = unary(connect(*servers, service_config=config(retryPolicy=RETRY)))
    with pytest.raises(grpc.RpcError) as caught:
        call(b"x", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() in {"reason 0", "reason 1", "reason 2"}
    assert [len(server.metadata) for server in servers] == [1, 1, 1]


@pytest.mark.parametrize(
    "script",
    [
        failing("NOT_FOUND"),
        failing("UNAVAILABLE", trailing={"grpc-retry-pushback-ms": "-1"}),
    ],
    ids=["another code", "pushback"],
)
def test_what_the_policy_is_not_for_is_final(script: Any, backend: Start, connect: Connect) -> None:
    server = backend(script)
    call = unary(connect(server, service_config=config(retryPolicy=RETRY)))
    with pytest.raises(grpc.RpcError):
        call(b"x", timeout=20)
    assert len(server.metadata) == 1


def test_what_answered_with_initial_metadata_is_final(backend: Start, connect: Connect) -> None:
    def fail(_requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.send_initial_metadata((("began", "1"),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "no")

    server = backend(fail)
    call = unary(connect(server, service_config=config(retryPolicy=RETRY)))
    with pytest.raises(grpc.RpcError):
        call(b"x", timeout=20)
    assert len(server.metadata) == 1


def test_a_throttled_channel_tries_nothing_again(backend: Start, connect: Connect) -> None:
    server = backend(failing("UNAVAILABLE"))
    throttling = {"retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}}
    call = unary(connect(server, service_config=config(retryPolicy=RETRY, top=throttling)))
    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            call(b"x", timeout=20)
    # The first failure leaves one token of two, and that is not more than half of them.
    assert len(server.metadata) == 3


def test_the_deadline_ends_the_wait_for_the_next_attempt(backend: Start, connect: Connect) -> None:
    server = backend(failing("UNAVAILABLE", "why"))
    slow = {**RETRY, "initialBackoff": "60s", "maxBackoff": "60s"}
    call = unary(connect(server, service_config=config(retryPolicy=slow)))
    with pytest.raises(grpc.RpcError) as caught:
        call(b"x", timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    details = str(caught.value.details())
    assert f"static:///{server.address}" in details
    assert f"tried before: {server.address} (UNAVAILABLE: why)" in details


def test_an_attempt_that_takes_too_long_is_given_up_for_another(
    backend: Start, connect: Connect
) -> None:
    slow, good = backend(), backend()
    slow.script = slow.hold
    policy = {**RETRY, "maxAttempts": 5, "perAttemptRecvTimeout": "0.5s"}
    call = unary(connect(slow, good, service_config=config(retryPolicy=policy)))
    while not slow.metadata:
        assert call(b"x", timeout=20) == b"x"
    assert good.metadata


def test_a_stream_of_requests_is_given_again(backend: Start, connect: Connect) -> None:
    def fail_late(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "late")

    bad, good = backend(fail_late), backend()
    channel = connect(bad, good, service_config=config(retryPolicy=RETRY))
    call = channel.stream_unary("/t.T/SU")
    for _ in range(2):
        assert call(iter([b"a", b"b", b"c"]), timeout=20) == b"abc"
        response, rpc = call.with_call(iter([b"a", b"b"]), timeout=20)
        assert response == b"ab"
        assert rpc.code() is grpc.StatusCode.OK
    assert len(bad.metadata) >= 2
    assert len(good.metadata) == 4


def test_a_stream_too_large_to_be_kept_is_not_given_again(backend: Start, connect: Connect) -> None:
    def fail_late(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        list(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "late")

    server = backend(fail_late)
    options = [("grpc.per_rpc_retry_buffer_size", 100)]
    channel = connect(server, service_config=config(retryPolicy=RETRY), options=options)
    with pytest.raises(grpc.RpcError):
        channel.stream_unary("/t.T/SU")(iter([b"x" * 60] * 4), timeout=20)
    assert len(server.metadata) == 1


def test_observers_are_told_of_attempts_and_rpcs(backend: Start, connect: Connect) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    notes = Notes()
    channel = connect(bad, good, service_config=config(retryPolicy=RETRY), observers=[notes])
    while not bad.metadata:
        notes.attempts.clear()
        notes.rpcs.clear()
        unary(channel)(b"x", timeout=20)
    assert notes.rpcs == [("/t.T/UU", "OK", 2)]
    assert notes.attempts == [(bad.address, 0, "UNAVAILABLE"), (good.address, 1, "OK")]


def test_a_breaker_refuses_what_is_too_much_and_counts_what_ends(
    backend: Start, connect: Connect
) -> None:
    server = backend()
    server.script = server.hold
    limits = {"circuitBreaker": {"maxRequests": 1}}
    channel = connect(server, service_config=config(top=limits))
    held = channel.unary_unary("/t.T/UU").future(b"x", timeout=20)
    server.await_entered()
    with pytest.raises(grpc.RpcError, match=r"max_requests \(1\) reached") as caught:
        unary(channel)(b"x", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    server.gate.set()
    assert held.result(20) == b"x"
    assert held.code() is grpc.StatusCode.OK
    assert unary(channel)(b"y", timeout=20) == b"y"
    assert channel._driver.rpcs.breaker.requests == 0


def test_a_breaker_bounds_the_retries_under_way(backend: Start, connect: Connect) -> None:
    server = backend(failing("UNAVAILABLE"))
    limits = {"circuitBreaker": {"maxRetries": 0}}
    channel = connect(server, service_config=config(retryPolicy=RETRY, top=limits))
    with pytest.raises(grpc.RpcError):
        unary(channel)(b"x", timeout=20)
    assert len(server.metadata) == 1
    assert channel._driver.rpcs.breaker.retries == 0


def test_a_backend_that_fails_again_and_again_is_ejected(backend: Start, connect: Connect) -> None:
    bad, good = backend(failing("UNAVAILABLE")), backend()
    detection = {"outlierDetection": {"consecutiveErrors": 3, "maxEjectionPercent": 50}}
    channel = connect(bad, good, service_config=config(top=detection))
    call = unary(channel)
    failed = 0
    for _ in range(20):
        try:
            call(b"x", timeout=20)
        except grpc.RpcError:
            failed += 1
    assert failed == 3
    ejected = {one.address: one.ejected_for for one in channel.snapshot().backends}
    assert ejected[good.address] is None
    assert ejected[bad.address] is not None


def test_a_wait_that_is_over_leaves_nothing_behind(connect: Connect, backend: Start) -> None:
    gone = backend()
    gone.stop()
    limits = {"circuitBreaker": {"maxPendingRequests": 1}}
    channel = connect(gone, service_config=config(waitForReady=True, top=limits), connect="lazy")
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel)(b"x", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    breaker = channel._driver.rpcs.breaker
    assert (breaker.requests, breaker.pending) == (0, 0)


def test_a_request_that_cannot_be_serialized_is_grpcs_own_error(
    backend: Start, connect: Connect
) -> None:
    def refuse(_request: object) -> bytes:
        raise TypeError("no bytes in it")

    channel = connect(backend(), service_config=config(retryPolicy=RETRY))
    call = channel.unary_unary("/t.T/UU", request_serializer=refuse)
    with pytest.raises(grpc.RpcError, match="Exception serializing request") as caught:
        call(object(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert not any(len(one.in_flight) for one in channel._driver.runner.machine.pool)


def test_the_shorter_timeout_holds(backend: Start, connect: Connect) -> None:
    server = backend()
    server.script = server.hold
    channel = connect(server, service_config=config(timeout="0.05s"))
    for timeout in (None, 20):
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel)(b"x", timeout=timeout)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_load_reports_are_read_from_trailing_metadata(backend: Start, connect: Connect) -> None:
    def loaded(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        report = "TEXT rps_fractional=10,application_utilization=0.5"
        context.set_trailing_metadata((("endpoint-load-metrics", report),))
        return echo(requests, context)

    policy = {"loadBalancingConfig": [{"weighted_round_robin": {"backendMetrics": True}}]}
    channel = connect(backend(loaded), service_config=config(top=policy))
    assert unary(channel)(b"x", timeout=20) == b"x"
    (one,) = channel.snapshot().backends
    assert one.load is not None
    assert one.load.application_utilization == 0.5


def test_the_key_decides_the_backend(backend: Start, connect: Connect) -> None:
    servers = [backend() for _ in range(3)]
    policy = {"loadBalancingConfig": [{"ring_hash": {"requestHashHeader": "user"}}]}
    call = unary(connect(*servers, service_config=config(top=policy)))
    for user in ("a", "b", "c", "d"):
        for server in servers:
            server.metadata.clear()
        for _ in range(4):
            call(b"x", timeout=20, metadata=(("user", user),))
        assert sorted(len(server.metadata) for server in servers) == [0, 0, 4]
