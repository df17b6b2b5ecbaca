"""What a call machine decides: tables of events in and decisions out."""

from typing import Any

import pytest

from client_resolver.call.attempt import Status
from client_resolver.telemetry.observer import Attempt, Observer
from tests.client_resolver.call.playing import HEDGING, REFUSED, RETRY, TARGET, Player

AT = "10.0.0.0:80"
SLOW = {**RETRY, "perAttemptRecvTimeout": "2s"}
AT_ONCE = {**HEDGING, "hedgingDelay": "0s"}
BEFORE = f"tried before: {AT} (UNAVAILABLE: why)"

# The events of an RPC in, and what is decided upon the last of them out.
SINGLE: list[Any] = [
    ((), "start"),
    (("start",), "wait"),
    (("start", "end 0 OK"), "is 0 over"),
    (("start", "end 0 UNAVAILABLE"), "is 0 over"),
    (("start", "answer 0"), "is 0"),
    (("start", "answer 0", "end 0 UNAVAILABLE"), "is 0 over"),
    # No server took it up: that shows at the connection, at once or a moment later.
    (("start", "refuse 0"), "look 0"),
    (("start", "refuse 0", "gone 0"), "start"),
    (("start", "refuse 0", "gone 0", "start"), "wait"),
    (("start", "refuse 0", "there 0"), "is 0 over"),
    (("start", "turn 0"), "look 0"),
    (("start", "turn 0", "gone 0"), "start"),
    (("start", "turn 0", "there 0"), "wake +0.001"),
    (("start", "turn 0", "there 0", "after 0.001"), "look 0"),
    (("start", "turn 0", "there 0", "after 0.001", "gone 0"), "start"),
    (("start", "turn 0", "there 0", "after 0.001", "there 0"), "wake +0.004"),
    (
        ("start", "turn 0", "there 0", *("after 0.02", "there 0") * 3),
        "is 0 over",
    ),
    # The same once more of a call that was told of already is no event.
    (("start", "refuse 0", "gone 0", "end 0 OK", "gone 0"), "start"),
    (("start", "refuse 0", "gone 0", "start", "end 0 UNAVAILABLE", "end 1 OK"), "is 1 over"),
    # What a server has answered is its answer, whatever its text.
    (("start", "headers_end 0 UNAVAILABLE"), "is 0 over"),
    # No backend.
    (("nowhere",), "start"),
    (("nowhere", "start"), "wait"),
    (("failing",), f"ends UNAVAILABLE: {TARGET}: all refuse"),
    (
        ("start", "refuse 0", "gone 0", "failing"),
        f"ends UNAVAILABLE: {TARGET}: all refuse; tried before: {AT} (UNAVAILABLE: {REFUSED})",
    ),
    (("close",), "ends CANCELLED: Channel closed!"),
    (("start", "close", "refuse 0"), "is 0 over"),
    # Cancelled by the application.
    (("cancel",), "ends CANCELLED: Locally cancelled by application!"),
    (("start", "cancel"), "cancel 0, ends CANCELLED: Locally cancelled by application!"),
    (("start", "answer 0", "cancel"), "cancel 0, is 0"),
    (("start", "answer 0", "cancel", "end 0 CANCELLED"), "is 0 over"),
    (("start", "turn 0", "cancel"), "ends CANCELLED: Locally cancelled by application!"),
]


@pytest.mark.parametrize(("events", "decision"), SINGLE)
def test_an_rpc_without_a_policy_has_one_attempt_that_a_server_took_up(
    events: tuple[str, ...], decision: str
) -> None:
    player = Player()
    assert (player.play(*events) or player.decision()) == decision


RETRIED: list[Any] = [
    (("start", "end 0 UNAVAILABLE"), "wake +1"),
    (("start", "end 0 UNAVAILABLE", "after 0.9"), "wake +0.1"),
    (("start", "end 0 UNAVAILABLE", "after 1"), "start"),
    (("start", "end 0 UNAVAILABLE", "after 1", "start", "end 1 OK"), "is 1 over"),
    (("start", "end 0 NOT_FOUND"), "is 0 over"),
    (
        ("start", "end 0 UNAVAILABLE", *("after 1", "start", "end 1 UNAVAILABLE"), "after 1"),
        "start",
    ),
    (
        (
            *("start", "end 0 UNAVAILABLE", "after 1", "start", "end 1 UNAVAILABLE"),
            *("after 1", "start", "end 2 UNAVAILABLE"),
        ),
        "is 2 over",
    ),
    # What no server took up doesn't count.
    (
        (
            *("start", "refuse 0", "gone 0", "start", "end 1 UNAVAILABLE", "after 1"),
            *("start", "refuse 2", "gone 2", "start", "end 3 UNAVAILABLE", "after 1"),
        ),
        "start",
    ),
    # The server says when, or not at all.
    (("start", "push 0 UNAVAILABLE 250"), "wake +0.25"),
    (("start", "push 0 UNAVAILABLE 0"), "start"),
    (("start", "push 0 UNAVAILABLE -1"), "is 0 over"),
    (("start", "push 0 UNAVAILABLE soon"), "is 0 over"),
    # What has answered is not made again.
    (("start", "headers_end 0 UNAVAILABLE"), "is 0 over"),
    (("start", "answer 0", "end 0 UNAVAILABLE"), "is 0 over"),
    # While the next attempt waits for its time, or for a backend.
    (
        ("start", "end 0 UNAVAILABLE", "cancel"),
        "ends CANCELLED: Locally cancelled by application!",
    ),
    (("start", "end 0 UNAVAILABLE", "close"), "ends CANCELLED: Channel closed!"),
    (
        ("start", "end 0 UNAVAILABLE", "after 1", "failing"),
        f"ends UNAVAILABLE: {TARGET}: all refuse; {BEFORE}",
    ),
    (("start", "end 0 UNAVAILABLE", "after 1", "nowhere", "start"), "wait"),
]


@pytest.mark.parametrize(("events", "decision"), RETRIED)
def test_a_retry_policy_decides_over_what_a_server_took_up(
    events: tuple[str, ...], decision: str
) -> None:
    assert Player({"retryPolicy": RETRY}).play(*events) == decision


LIMITED: list[Any] = [
    # (the responses stream, events, decision)
    (True, ("start",), "wake +2"),
    (True, ("start", "after 2"), "cancel 0"),
    (True, ("start", "after 2", "end 0 CANCELLED"), "wake +1"),
    (True, ("start", "after 1", "answer 0"), "is 0"),
    (False, ("start",), "wait"),
    (False, ("start", "after 2", "end 0 DEADLINE_EXCEEDED"), "wake +1"),
    # It ended by itself in the moment in which it was given up.
    (True, ("start", "after 2", "end 0 OK"), "is 0 over"),
]


@pytest.mark.parametrize(("streams", "events", "decision"), LIMITED)
def test_an_attempt_is_given_up_after_the_policys_time_for_one(
    streams: bool, events: tuple[str, ...], decision: str
) -> None:
    assert Player({"retryPolicy": SLOW}, streams=streams).play(*events) == decision


@pytest.mark.parametrize(
    ("streams", "code"), [(True, "CANCELLED"), (False, "DEADLINE_EXCEEDED")], ids=["stream", "one"]
)
def test_what_was_given_up_says_so_whatever_grpc_says_of_it(streams: bool, code: str) -> None:
    player = Player({"retryPolicy": {**SLOW, "maxAttempts": 2}}, streams=streams)
    given_up = ("after 2", f"end 0 {code} Locally cancelled by application!", "after 1")
    assert player.play("start", *given_up) == "start"
    why = "no response within the 2.0 s of an attempt"
    last = player.play("start", "after 2", f"end 1 {code} Locally cancelled by application!")
    assert last == (
        f"ends DEADLINE_EXCEEDED: {TARGET}: {why}; tried before: {AT} (DEADLINE_EXCEEDED: {why})"
    )


@pytest.mark.parametrize(
    ("deadline", "streams", "timeout"),
    [
        (None, False, 2.0),
        (9.0, False, 2.0),
        (1.0, False, 1.0),
        (9.0, True, 9.0),
        (None, True, None),
    ],
)
def test_grpc_gets_the_shorter_time_where_it_can_keep_it(
    deadline: float | None, streams: bool, timeout: float | None
) -> None:
    player = Player({"retryPolicy": SLOW}, deadline=deadline, streams=streams)
    player.play("start")
    assert player.attempts[0].timeout == timeout


EARLY = f"ends DEADLINE_EXCEEDED: {TARGET}: the deadline passed before the next attempt"
WAITED = f"ends DEADLINE_EXCEEDED: {TARGET}: the deadline passed while waiting for a connection"

OVERDUE: list[Any] = [
    (("start", "end 0 UNAVAILABLE"), "wake +0.5"),
    (
        ("start", "end 0 UNAVAILABLE", "after 0.5"),
        f"{EARLY}; {BEFORE}",
    ),
    # grpc's own call has a deadline of its own.
    (("start",), "wait"),
    (("start", "after 1"), "wait"),
    (("start", "after 1", "end 0 DEADLINE_EXCEEDED"), "is 0 over"),
    # An RPC that is made too late is put on a backend all the same: grpc answers most.
    (("after 1",), "start, wake +-0.5"),
    (("nowhere",), "start, wake +0.5"),
    (
        ("nowhere", "after 0.5", "nowhere"),
        f"{WAITED} to one of 1 backend",
    ),
    (
        ("start", "after 1", "refuse 0", "gone 0"),
        f"{EARLY}; tried before: {AT} (UNAVAILABLE: {REFUSED})",
    ),
]


@pytest.mark.parametrize(("events", "decision"), OVERDUE)
def test_the_deadline_ends_whatever_the_rpc_waits_for(
    events: tuple[str, ...], decision: str
) -> None:
    assert Player({"retryPolicy": RETRY}, deadline=0.5).play(*events) == decision


@pytest.mark.parametrize("waits", [True, False])
def test_an_rpc_that_waits_for_ready_waits_while_all_backends_fail(waits: bool) -> None:
    player = Player(wait_for_ready=waits)
    assert (player.play("failing") == "start") == waits


HEDGED: list[Any] = [
    (("start",), "wake +1"),
    (("start", "after 1"), "start"),
    (("start", "after 1", "start", "after 1", "start"), "wait"),
    (("start", "end 0 OK"), "is 0 over"),
    (("start", "after 1", "start", "end 1 OK"), "cancel 0, is 1 over"),
    (("start", "after 1", "start", "answer 0"), "cancel 1, is 0"),
    # What was given up is no event any more.
    (("start", "after 1", "start", "answer 0", "end 1 CANCELLED", "end 0 OK"), "is 0 over"),
    (("start", "end 0 UNAVAILABLE"), "start"),
    (("start", "after 1", "start", "end 0 UNAVAILABLE"), "start"),
    (("start", "after 1", "start", "end 0 NOT_FOUND"), "cancel 1, is 0 over"),
    (("start", "push 0 UNAVAILABLE 500"), "wake +0.5"),
    (("start", "push 0 UNAVAILABLE -1"), "is 0 over"),
    (("start", "after 1", "start", "push 0 UNAVAILABLE -1"), "wait"),
    (("start", "after 1", "start", "push 0 UNAVAILABLE -1", "end 1 UNAVAILABLE"), "is 1 over"),
    (
        (
            *("start", "end 0 UNAVAILABLE", "start", "end 1 UNAVAILABLE", "start"),
            "end 2 UNAVAILABLE",
        ),
        "is 2 over",
    ),
    # Not taken up by a server: it is made again beside the others, and counts for nothing.
    (("start", "after 1", "start", "refuse 0"), "look 0, wake +1"),
    (("start", "after 1", "start", "refuse 0", "gone 0"), "start"),
    (("start", "after 1", "start", "refuse 0", "gone 0", "start"), "wake +1"),
    (("start", "after 1", "start", "refuse 0", "there 0"), "start"),
    # Nothing to put the next one on: those that run may answer yet.
    (("start", "after 1", "failing"), "start"),
    (("start", "after 1", "failing", "end 0 OK"), "is 0 over"),
    (
        ("start", "after 1", "failing", "end 0 UNAVAILABLE", "failing"),
        f"ends UNAVAILABLE: {TARGET}: all refuse; {BEFORE}",
    ),
    (("start", "headers_end 0 UNAVAILABLE"), "is 0 over"),
    (
        ("start", "after 1", "start", "cancel"),
        "cancel 0, cancel 1, ends CANCELLED: Locally cancelled by application!",
    ),
    (("start", "close", "after 1"), "wait"),
    (("start", "after 1", "start", "close", "end 0 UNAVAILABLE"), "wait"),
    (("start", "after 1", "start", "close", "end 0 UNAVAILABLE", "end 1 ABORTED"), "is 1 over"),
]


@pytest.mark.parametrize(("events", "decision"), HEDGED)
def test_attempts_run_side_by_side_and_the_first_answer_counts(
    events: tuple[str, ...], decision: str
) -> None:
    assert Player({"hedgingPolicy": HEDGING}).play(*events) == decision


def test_without_a_delay_all_attempts_start_at_once() -> None:
    player = Player({"hedgingPolicy": AT_ONCE})
    assert [player.play("start") for _ in range(3)] == ["start", "start", "wait"]
    assert [one.hedge for one in told_of(AT_ONCE)] == [False, True, True]


class Hedges(Observer):
    def __init__(self) -> None:
        self.told: list[Attempt] = []

    def attempt_started(self, attempt: Attempt) -> None:
        self.told.append(attempt)


def told_of(policy: dict[str, object]) -> list[Attempt]:
    seen = Hedges()
    player = Player({"hedgingPolicy": policy}, observers=[seen])
    while player.starts:
        player.play("start")
    return seen.told


STREAMED: list[Any] = [
    ("retryPolicy", ("start", "overflow", "end 0 UNAVAILABLE"), "is 0 over"),
    ("retryPolicy", ("start", "overflow", "refuse 0"), "is 0 over"),
    # The source went on while the next attempt waited.
    ("retryPolicy", ("start", "end 0 UNAVAILABLE", "overflow"), "is 0 over"),
    ("retryPolicy", ("start", "refuse 0", "gone 0", "overflow"), "is 0 over"),
    ("hedgingPolicy", ("start", "overflow", "after 1"), "wait"),
    ("hedgingPolicy", ("start", "after 1", "start", "overflow"), "cancel 0"),
    (
        "hedgingPolicy",
        ("start", "after 1", "start", "overflow", "end 1 UNAVAILABLE"),
        "is 1 over",
    ),
    ("hedgingPolicy", ("start", "after 1", "overflow", "end 0 UNAVAILABLE"), "is 0 over"),
]


@pytest.mark.parametrize(("policy", "events", "decision"), STREAMED)
def test_requests_that_are_kept_no_longer_are_given_to_no_other_attempt(
    policy: str, events: tuple[str, ...], decision: str
) -> None:
    configs = {"retryPolicy": RETRY, "hedgingPolicy": HEDGING}
    player = Player({policy: configs[policy]}, requests=True)
    assert player.play(*events) == decision


@pytest.mark.parametrize(
    ("top", "policy", "events", "decision"),
    [
        ({"circuitBreaker": {"maxRetries": 0}}, RETRY, ("start", "end 0 UNAVAILABLE"), "is 0 over"),
        ({"circuitBreaker": {"maxRetries": 0}}, HEDGING, ("start", "after 1"), "wait"),
        (
            {"circuitBreaker": {"maxRetries": 0}},
            HEDGING,
            ("start", "after 1", "end 0 UNAVAILABLE"),
            "is 0 over",
        ),
        (
            {"circuitBreaker": {"maxPendingRequests": 0}},
            RETRY,
            ("nowhere",),
            f"ends UNAVAILABLE: {TARGET}: circuit breaker: max_pending_requests (0) reached",
        ),
        (
            {"retryThrottling": {"maxTokens": 2, "tokenRatio": 1}},
            RETRY,
            ("start", "end 0 UNAVAILABLE"),
            "is 0 over",
        ),
        (
            {"retryThrottling": {"maxTokens": 2, "tokenRatio": 1}},
            HEDGING,
            ("start", "after 1", "start", "end 0 UNAVAILABLE"),
            "wait",
        ),
    ],
)
def test_the_breaker_and_the_throttle_bound_what_is_started_again(
    top: Any, policy: dict[str, object], events: tuple[str, ...], decision: str
) -> None:
    name = "retryPolicy" if policy is RETRY else "hedgingPolicy"
    assert Player({name: policy}, **top).play(*events) == decision


def test_a_throttle_that_closes_during_a_pushback_ends_the_rpc_with_its_last_failure() -> None:
    throttling = {"maxTokens": 4, "tokenRatio": 1}
    player = Player({"hedgingPolicy": HEDGING}, retryThrottling=throttling)
    assert player.play("start", "push 0 UNAVAILABLE 1000") == "wake +1"
    player.rpcs.throttle.failed()
    assert player.play("after 1") == "is 0 over"


def test_an_attempt_that_could_not_be_made_ends_the_rpc_and_is_counted_nowhere() -> None:
    limits = {"maxRequests": 9, "maxRetries": 9, "maxPendingRequests": 9}
    player = Player({"hedgingPolicy": AT_ONCE}, circuitBreaker=limits)
    player.play("start", "start")
    player.machine.start_failed(player.attempts[1], Status("INTERNAL", "no bytes"))
    assert player.decision() == "cancel 0, ends INTERNAL: no bytes"
    breaker = player.rpcs.breaker
    assert (breaker.requests, breaker.pending, breaker.retries) == (0, 0, 0)


def test_what_the_applications_policy_raises_ends_the_rpc_with_a_text_that_says_so() -> None:
    player = Player()
    player.machine.failed("KeyError('zone')")
    assert player.decision() == (
        f"ends INTERNAL: {TARGET}: the RPC could not be started: KeyError('zone')"
    )


@pytest.mark.parametrize("policy", [None, RETRY, HEDGING], ids=["none", "retry", "hedging"])
@pytest.mark.parametrize("final", [True, False])
def test_a_machine_may_begin_with_an_attempt_that_failed_before_there_was_one(
    policy: dict[str, object] | None, final: bool
) -> None:
    name = "hedgingPolicy" if policy is HEDGING else "retryPolicy"
    player = Player(None if policy is None else {name: policy})
    attempt = player.rpc.resume(player.backend, 99.0)
    player.attempts.append(attempt)
    player.machine.resume(attempt, player.now)
    player.end(0, Status("NOT_FOUND" if final else "UNAVAILABLE", "why"))
    goes_on = "start" if policy is HEDGING else "wake +1"
    assert player.decision() == ("is 0 over" if final or policy is None else goes_on)
