from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.retry import (
    Retries,
    RetryPolicy,
    Throttle,
    Throttling,
    pushback_in,
    pushback_wait,
)

CONFIG: dict[str, object] = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 4,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
POLICY = RetryPolicy(4, 0.1, 1.0, 4.0, frozenset({"UNAVAILABLE"}))


class Middle(Random):
    """Draws the middle of every range: waits without their jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def retries(policy: RetryPolicy = POLICY, throttle: Throttle | None = None) -> Retries:
    return Retries(policy, throttle or Throttle(), Middle())


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({}, POLICY),
        ({"maxAttempts": 9}, RetryPolicy(5, 0.1, 1.0, 4.0, frozenset({"UNAVAILABLE"}))),
        ({"maxAttempts": "3"}, RetryPolicy(3, 0.1, 1.0, 4.0, frozenset({"UNAVAILABLE"}))),
        (
            {"retryableStatusCodes": ["aborted", 14, "Internal"]},
            RetryPolicy(4, 0.1, 1.0, 4.0, frozenset({"ABORTED", "UNAVAILABLE", "INTERNAL"})),
        ),
        (
            {"retryableStatusCodes": [], "perAttemptRecvTimeout": "0.5s"},
            RetryPolicy(4, 0.1, 1.0, 4.0, frozenset(), 0.5),
        ),
    ],
)
def test_a_policy_is_read(changes: Any, policy: RetryPolicy) -> None:
    assert RetryPolicy.parse(CONFIG | changes) == policy


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"maxAttempts": 1}, "maxAttempts is 1: at least 2"),
        ({"maxAttempts": 2.5}, "maxAttempts is 2.5: a whole number"),
        ({"maxAttempts": None}, "maxAttempts is missing"),
        ({"initialBackoff": None}, "initialBackoff is missing"),
        ({"initialBackoff": "0s"}, "initialBackoff is 0s: more than 0s"),
        ({"maxBackoff": "1"}, "maxBackoff is '1': a duration like"),
        ({"maxBackoff": "0s"}, "maxBackoff is 0s: more than 0s"),
        ({"backoffMultiplier": 0}, "backoffMultiplier is 0: more than 0"),
        ({"retryableStatusCodes": []}, "retryableStatusCodes is empty"),
        ({"retryableStatusCodes": None}, "retryableStatusCodes is empty"),
        ({"retryableStatusCodes": ["BROKEN"]}, "retryableStatusCodes has 'BROKEN': one of OK,"),
        ({"retryableStatusCodes": [17]}, "retryableStatusCodes has 17"),
        ({"retryableStatusCodes": ["ok"]}, "retryableStatusCodes has 'OK': only codes of failures"),
        ({"perAttemptRecvTimeout": "0s"}, "perAttemptRecvTimeout is 0s: more than 0s"),
    ],
)
def test_a_malformed_policy_is_named(changes: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        RetryPolicy.parse(CONFIG | changes)
    assert str(caught.value).startswith(why)


# Attempts in: the code each fails with, and the pushback. Verdicts out: the waits.
U = "UNAVAILABLE"


@pytest.mark.parametrize(
    ("ends", "waits"),
    [
        pytest.param([(U, None)] * 4, [0.1, 0.4, 1.0, None], id="growing up to the largest"),
        pytest.param([("NOT_FOUND", None)], [None], id="a code that isn't the policy's"),
        pytest.param([(U, None), ("INTERNAL", None)], [0.1, None], id="another code later"),
        pytest.param([(U, "250"), (U, None)], [0.25, 0.1], id="a pushback, then the first wait"),
        pytest.param(
            [(U, None), (U, "0"), (U, None)], [0.1, 0.0, 0.1], id="at once, then the first wait"
        ),
        pytest.param([(U, None), (U, "-1")], [0.1, None], id="don't retry"),
        pytest.param([(U, "soon")], [None], id="a pushback that can't be read"),
        pytest.param([(U, "")], [None], id="an empty pushback"),
        pytest.param([(U, "1")] * 4, [0.001] * 3 + [None], id="pushback gives no more attempts"),
        pytest.param([("NOT_FOUND", "10")], [None], id="pushback with a code that isn't its"),
    ],
)
def test_attempts_that_fail_are_followed_by_others(
    ends: list[tuple[str, str | None]], waits: list[float | None]
) -> None:
    state = retries()
    found = [state.failed(code, pushback) for code, pushback in ends]
    assert found == [None if wait is None else pytest.approx(wait) for wait in waits]


def test_attempts_are_counted_and_known_to_be_the_last() -> None:
    state = retries(RetryPolicy(2, 0.1, 1.0, 2.0, frozenset({U})))
    assert (state.attempts, state.more) == (1, True)
    assert state.failed(U) is not None
    assert (state.attempts, state.more) == (2, False)
    assert state.failed(U) is None
    assert state.attempts == 2


def test_an_attempt_that_takes_too_long_is_followed_by_another_whatever_the_codes() -> None:
    throttle = Throttle(Throttling(10, 1))
    state = retries(RetryPolicy(3, 0.1, 1.0, 2.0, frozenset(), 0.5), throttle)
    assert [state.timed_out() for _ in range(3)] == [0.1, 0.2, None]
    assert throttle.tokens == 7


def test_backoff_is_jittered_by_a_fifth_either_way() -> None:
    rng = Random(1)
    waits = [Retries(POLICY, Throttle(), rng).failed(U) or 0.0 for _ in range(2_000)]
    assert 0.08 <= min(waits) < 0.081
    assert 0.119 < max(waits) <= 0.12
    assert sum(waits) / len(waits) == pytest.approx(0.1, rel=0.01)


def test_a_huge_multiplier_gives_the_largest_wait() -> None:
    state = retries(RetryPolicy(5, 0.1, 1.0, 1e300, frozenset({U})))
    assert [state.failed(U) for _ in range(5)] == [pytest.approx(0.1), 1.0, 1.0, 1.0, None]


@pytest.mark.parametrize(
    ("ends", "tokens"),
    [
        ([("failed", U, None)], 9),
        ([("failed", "NOT_FOUND", None)], 10),
        ([("failed", "NOT_FOUND", "-1")], 9),
        ([("failed", U, "-1")], 9),
        ([("failed", U, None), ("succeeded",)], 9.5),
        ([("succeeded",)], 10),
    ],
)
def test_the_throttle_is_told_what_counts(ends: list[tuple[str, ...]], tokens: float) -> None:
    throttle = Throttle(Throttling(10, 0.5))
    state = retries(throttle=throttle)
    for name, *arguments in ends:
        getattr(state, name)(*arguments)
    assert throttle.tokens == tokens


def test_nothing_is_tried_again_while_half_the_tokens_or_fewer_are_left() -> None:
    throttle = Throttle(Throttling(4, 0.5))
    assert retries(throttle=throttle).failed(U) is not None
    assert retries(throttle=throttle).failed(U) is None  # 2 of 4
    assert retries(throttle=throttle).failed(U, "5") is None
    for _ in range(2):
        retries(throttle=throttle).succeeded()
    assert throttle.tokens == 2
    assert not throttle.allows
    retries(throttle=throttle).succeeded()
    assert throttle.allows


def test_a_throttle_that_isnt_configured_allows_everything() -> None:
    throttle = Throttle()
    for _ in range(50):
        throttle.failed()
    assert throttle.allows


@pytest.mark.parametrize(
    ("before", "after", "tokens"),
    [
        (Throttling(10, 1), Throttling(100, 1), 80),
        (Throttling(10, 1), Throttling(10, 0.1), 8),
        (Throttling(10, 1), None, 0),
        (None, Throttling(10, 1), 10),
    ],
)
def test_a_new_setting_keeps_the_share_of_tokens(
    before: Throttling | None, after: Throttling | None, tokens: float
) -> None:
    throttle = Throttle(before)
    throttle.failed()
    throttle.failed()
    throttle.configure(after)
    assert throttle.tokens == tokens


def test_decimal_places_beyond_the_third_dont_count() -> None:
    throttle = Throttle(Throttling(1.001, 0.5466))
    assert throttle.tokens == 1.001
    throttle.failed()
    throttle.succeeded()
    assert throttle.tokens == 0.547


@given(st.integers(1, 1_000_000), st.integers(1, 5_000), st.lists(st.booleans(), max_size=200))
def test_tokens_are_exact_and_stay_in_their_bounds(
    maximum: int, ratio: int, ends: list[bool]
) -> None:
    throttle = Throttle(Throttling(maximum / 1000, ratio / 1000))
    exact = Fraction(maximum, 1000)
    for ok in ends:
        if ok:
            throttle.succeeded()
            exact = min(exact + Fraction(ratio, 1000), Fraction(maximum, 1000))
        else:
            throttle.failed()
            exact = max(exact - 1, Fraction(0))
        assert throttle.tokens == float(exact)
        assert throttle.allows == (exact > Fraction(maximum, 2000))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"tokenRatio": 1}, "maxTokens is missing"),
        ({"maxTokens": 1}, "tokenRatio is missing"),
        ({"maxTokens": 0, "tokenRatio": 1}, "maxTokens is 0: at least 0.001 and at most 1000"),
        ({"maxTokens": 1001, "tokenRatio": 1}, "maxTokens is 1001"),
        ({"maxTokens": 1, "tokenRatio": 0.0001}, "tokenRatio is 0.0001: at least 0.001"),
    ],
)
def test_a_malformed_throttling_is_named(config: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        Throttling.parse(config)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    ("metadata", "wait"),
    [
        ([], None),
        ([("other", "5")], None),
        ([("grpc-retry-pushback-ms", "1500")], 1.5),
        ([("other", "5"), ("grpc-retry-pushback-ms", "0")], 0.0),
        ([("grpc-retry-pushback-ms", "-1")], float("inf")),
        ([("grpc-retry-pushback-ms", "1.5")], float("inf")),
        ([("grpc-retry-pushback-ms", " 1")], float("inf")),
        ([("grpc-retry-pushback-ms", "٣")], float("inf")),
        ([("grpc-retry-pushback-ms", "9" * 5_000)], float("inf")),
        ([("grpc-retry-pushback-ms", "1"), ("grpc-retry-pushback-ms", "1")], float("inf")),
    ],
)
def test_a_pushback_is_found_and_read(
    metadata: list[tuple[str, str | bytes]], wait: float | None
) -> None:
    assert pushback_wait(pushback_in(metadata)) == wait
