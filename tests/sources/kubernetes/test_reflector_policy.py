import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    ConnectionBroken,
    KubernetesError,
    MalformedResponse,
    ReadTimeout,
    ResponseTooLarge,
    SuspiciousList,
    Unreachable,
    VersionRegression,
)
from lookaside.sources.kubernetes.reflector_policy import (
    Decision,
    Phase,
    RelistBudget,
    decide,
    doubts_position,
)

TOO_LARGE = ApiStatus(504, "Too large resource version")
AGAIN = Decision(relist=False)
AT_ONCE = Decision(relist=False, pause=False)
RELIST = Decision(relist=True, rate_limited=True)
RELIST_AT_ONCE = Decision(relist=True, rate_limited=True, pause=False)
SOON = Decision(relist=False, brief=True)
RELIST_FREE = Decision(relist=True, pause=False)


def in_stream(code: int) -> ApiStatus:
    return ApiStatus(code, "", in_stream=True)


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (None, AGAIN),
        (Unreachable(), SOON),
        (ConnectionBroken(), AGAIN),
        (MalformedResponse(), AGAIN),
        (ReadTimeout(), AT_ONCE),
        (VersionRegression(), RELIST_AT_ONCE),
        (ResponseTooLarge(), RELIST),
        (SuspiciousList(), Decision(relist=True)),
        (TOO_LARGE, RELIST_AT_ONCE),
        (in_stream(0), RELIST_AT_ONCE),
        (in_stream(410), RELIST_AT_ONCE),
        (in_stream(500), RELIST_AT_ONCE),
        (in_stream(429), AGAIN),
        (ApiStatus(400, ""), RELIST),
        (ApiStatus(401, ""), AGAIN),
        (ApiStatus(403, ""), AGAIN),
        (ApiStatus(404, ""), AGAIN),
        (ApiStatus(410, ""), RELIST_AT_ONCE),
        (ApiStatus(422, ""), RELIST),
        (ApiStatus(429, ""), AGAIN),
        (ApiStatus(429, "", retry_after=7), Decision(relist=False, at_least=7)),
        (ApiStatus(429, "", retry_after=86_400), Decision(relist=False, at_least=30)),
        (ApiStatus(503, "", retry_after=3), Decision(relist=False, at_least=3)),
        (ApiStatus(504, "gateway"), AGAIN),
    ],
)
def test_a_watch_that_ended(error: KubernetesError | None, decision: Decision) -> None:
    assert decide(error, Phase.WATCH) == decision


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (Unreachable(), SOON),
        (ConnectionBroken(), AGAIN),
        (MalformedResponse(), AGAIN),
        (ReadTimeout(), AGAIN),
        (ResponseTooLarge(), AGAIN),
        (SuspiciousList(), Decision(relist=True)),
        (TOO_LARGE, RELIST),
        (in_stream(0), RELIST),
        (ApiStatus(400, ""), AGAIN),
        (ApiStatus(403, ""), AGAIN),
        (ApiStatus(410, ""), RELIST),
        (ApiStatus(429, "", retry_after=86_400), Decision(relist=False, at_least=30)),
        (ApiStatus(500, ""), AGAIN),
    ],
)
def test_a_list_that_failed(error: KubernetesError, decision: Decision) -> None:
    assert decide(error, Phase.LIST, eventless=9) == decision


def test_a_watch_that_closes_in_good_order_after_a_while_is_reopened_at_once() -> None:
    assert decide(None, Phase.WATCH, lived=4.9).pause
    assert not decide(None, Phase.WATCH, lived=5.0).pause


def test_a_second_watch_with_no_event_is_not_resumed() -> None:
    assert decide(ReadTimeout(), Phase.WATCH, eventless=1) == AT_ONCE
    assert decide(ReadTimeout(), Phase.WATCH, eventless=2) == RELIST
    assert decide(ApiStatus(500, ""), Phase.WATCH, eventless=2) == RELIST


@pytest.mark.parametrize(
    ("error", "eventless"),
    [
        (None, False),
        (Unreachable(), False),
        (ConnectionBroken(), False),
        (ApiStatus(429, ""), False),
        (ApiStatus(401, ""), False),
        (ApiStatus(403, ""), False),
        (ApiStatus(500, ""), True),
        (ReadTimeout(), True),
        (MalformedResponse(), True),
    ],
)
def test_what_casts_doubt_on_a_position(error: KubernetesError | None, eventless: bool) -> None:
    assert doubts_position(error) is eventless


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (ApiStatus(403, ""), SOON),
        (ApiStatus(503, ""), SOON),
        (ApiStatus(503, "", retry_after=1), Decision(relist=False, at_least=1)),
        (ApiStatus(429, ""), AGAIN),
        (ApiStatus(410, ""), RELIST_FREE),
        (in_stream(410), RELIST_FREE),
        (ConnectionBroken(), AGAIN),
    ],
)
def test_a_server_that_has_only_just_come_up_is_asked_again_soon(
    error: KubernetesError, decision: Decision
) -> None:
    assert decide(error, Phase.WATCH, starting=True) == decision


def test_a_list_that_a_starting_server_refuses_for_its_position_is_charged() -> None:
    assert decide(ApiStatus(410, ""), Phase.LIST, starting=True) == RELIST


def test_a_budget_grants_two_relists_a_minute() -> None:
    budget = RelistBudget(2, 60.0)
    assert budget.take(100.0) == 0.0
    assert budget.take(110.0, 1.0) == 1.0
    assert budget.take(112.0, 1.0) == 48.0
    assert budget.take(160.0) == 11.0
    assert budget.take(500.0) == 0.0


def test_a_budget_says_when_it_is_free_and_grants_nothing_by_that() -> None:
    budget = RelistBudget(2, 60.0)
    for now in (100.0, 110.0):
        assert budget.free(now) == 0.0
        budget.take(now)
    assert [budget.free(now) for now in (110.0, 159.0, 160.0, 200.0)] == [50.0, 1.0, 0.0, 0.0]


@given(st.lists(st.floats(0, 100), min_size=3, max_size=50))
def test_no_three_relists_fall_within_a_minute(gaps: list[float]) -> None:
    budget = RelistBudget(2, 60.0)
    now = 0.0
    granted = []
    for gap in gaps:
        now += gap
        now += budget.take(now)
        granted.append(now)
    triples = zip(granted, granted[2:], strict=False)
    assert all(third - first >= 60.0 - 1e-6 for first, third in triples)
