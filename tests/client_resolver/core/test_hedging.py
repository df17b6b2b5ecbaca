from typing import Any

import pytest

from client_resolver.core.hedging import HedgeState, HedgingPolicy, Verdict
from client_resolver.core.retry import Throttle, Throttling

U = "UNAVAILABLE"
POLICY = HedgingPolicy(3, 1.0, frozenset({U}))


def hedged(policy: HedgingPolicy = POLICY, throttle: Throttle | None = None) -> HedgeState:
    return HedgeState(policy, throttle or Throttle())


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        ({"maxAttempts": 2}, HedgingPolicy(2, 0.0, frozenset())),
        (
            {"maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["unavailable", 10]},
            HedgingPolicy(3, 0.5, frozenset({"UNAVAILABLE", "ABORTED"})),
        ),
        ({"maxAttempts": 6}, HedgingPolicy(5, 0.0, frozenset())),
    ],
)
def test_a_policy_is_read(config: Any, policy: HedgingPolicy) -> None:
    assert HedgingPolicy.parse(config) == policy


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "maxAttempts is missing"),
        ({"maxAttempts": 1}, "maxAttempts is 1: at least 2"),
        ({"maxAttempts": 2, "hedgingDelay": "-1s"}, "hedgingDelay is -1s: at least 0s"),
        ({"maxAttempts": 2, "hedgingDelay": 1}, "hedgingDelay is 1: a duration like"),
        ({"maxAttempts": 2, "nonFatalStatusCodes": ["X"]}, "nonFatalStatusCodes has 'X'"),
        ({"maxAttempts": 2, "nonFatalStatusCodes": [0]}, "nonFatalStatusCodes has 'OK'"),
    ],
)
def test_a_malformed_policy_is_named(config: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        HedgingPolicy.parse(config)
    assert str(caught.value).startswith(why)


def test_an_attempt_starts_each_time_the_delay_has_passed() -> None:
    state = hedged()
    found = [(state.start(now), state.next_at) for now in (10.0, 10.9, 11.0, 12.5, 99.0)]
    assert found == [(True, 11.0), (False, 11.0), (True, 12.0), (True, None), (False, None)]
    assert (state.attempts, state.running) == (3, 3)


def test_without_a_delay_all_attempts_start_at_once() -> None:
    state = hedged(HedgingPolicy(4))
    assert [state.start(5.0) for _ in range(5)] == [True] * 4 + [False]
    assert state.running == 4


def test_an_answer_ends_it() -> None:
    throttle = Throttle(Throttling(10, 0.5))
    throttle.failed()
    state = hedged(throttle=throttle)
    state.start(0.0)
    state.start(1.0)
    state.succeeded()
    assert (state.next_at, state.running) == (None, 1)
    assert not state.start(2.0)
    assert throttle.tokens == 9.5


# With the first attempts started so many seconds apart: failures (at, code, pushback) in, and the
# verdict and when the next attempt starts out.
@pytest.mark.parametrize(
    ("started", "failures", "verdicts"),
    [
        pytest.param([0], [(0.2, "INTERNAL", None)], [("FINAL", None)], id="a fatal code"),
        pytest.param(
            [0, 1], [(1.2, "INTERNAL", None)], [("FINAL", None)], id="fatal, while another runs"
        ),
        pytest.param([0], [(0.2, U, None)], [("START", 0.2)], id="the next goes at once"),
        pytest.param(
            [0, 1, 2],
            [(2.1, U, None), (2.2, U, None), (2.3, U, None)],
            [("WAIT", None), ("WAIT", None), ("FINAL", None)],
            id="all have failed",
        ),
        pytest.param([0], [(0.2, U, "5000")], [("WAIT", 5.2)], id="pushed back, nothing runs"),
        pytest.param([0, 1], [(1.2, U, "50")], [("WAIT", 1.25)], id="pushed back to sooner"),
        pytest.param([0, 1], [(1.2, U, "0")], [("START", 1.2)], id="pushed back to now"),
        pytest.param([0], [(0.2, U, "-1")], [("FINAL", None)], id="no more, nothing runs"),
        pytest.param(
            [0, 1],
            [(1.2, U, "-1"), (1.3, U, None)],
            [("WAIT", None), ("FINAL", None)],
            id="no more, while another runs",
        ),
        pytest.param([0], [(0.2, U, "soon")], [("FINAL", None)], id="can't be read: no more"),
        pytest.param([0], [(0.2, "INTERNAL", "9")], [("FINAL", None)], id="fatal and pushed back"),
        pytest.param(
            [0, 1, 2], [(2.1, U, "100")], [("WAIT", None)], id="pushed back, but all are started"
        ),
    ],
)
def test_failures_are_judged(
    started: list[float],
    failures: list[tuple[float, str, str | None]],
    verdicts: list[tuple[str, float | None]],
) -> None:
    state = hedged()
    assert all(state.start(at) for at in started)
    for (now, code, pushback), (verdict, next_at) in zip(failures, verdicts, strict=True):
        assert state.failed(code, pushback, now) is Verdict[verdict]
        assert state.next_at == (None if next_at is None else pytest.approx(next_at))
        assert state.start(now) == (verdict == "START")


def test_the_delay_counts_anew_from_an_attempt_that_a_failure_brought_forward() -> None:
    state = hedged()
    state.start(0.0)
    assert state.failed(U, None, 0.25) is Verdict.START
    assert state.start(0.25)
    assert state.next_at == 1.25


@pytest.mark.parametrize(
    ("code", "pushback", "tokens"),
    [
        (U, None, 9),
        ("INTERNAL", None, 10),
        ("INTERNAL", "-1", 9),
        (U, "-1", 9),
    ],
)
def test_the_throttle_is_told_what_counts(code: str, pushback: str | None, tokens: float) -> None:
    throttle = Throttle(Throttling(10, 1))
    state = hedged(throttle=throttle)
    state.start(0.0)
    state.failed(code, pushback, 0.5)
    assert throttle.tokens == tokens


def closed() -> Throttle:
    throttle = Throttle(Throttling(2, 1))
    throttle.failed()
    return throttle


def test_a_closed_throttle_lets_the_first_attempt_go_and_no_other() -> None:
    throttle = closed()
    state = hedged(throttle=throttle)
    assert state.start(0.0)
    assert not state.start(1.0)
    assert state.next_at is None
    throttle.succeeded()
    assert not state.start(2.0)
    assert not state.over
    assert state.failed(U, None, 3.0) is Verdict.FINAL


def test_a_failure_that_closes_the_throttle_is_final_if_nothing_runs() -> None:
    state = hedged(throttle=Throttle(Throttling(2, 1)))
    state.start(0.0)
    assert state.failed(U, None, 0.5) is Verdict.FINAL


def test_a_throttle_that_closes_during_a_pushback_ends_the_rpc() -> None:
    throttle = Throttle(Throttling(4, 1))
    state = hedged(throttle=throttle)
    state.start(0.0)
    assert state.failed(U, "1000", 0.5) is Verdict.WAIT
    assert not state.over
    throttle.failed()
    assert not state.start(1.5)
    assert state.over


def test_a_shell_may_stop_further_attempts() -> None:
    state = hedged()
    state.start(0.0)
    state.stop()
    assert not state.start(1.0)
    assert not state.over
    assert state.failed(U, None, 1.5) is Verdict.FINAL
