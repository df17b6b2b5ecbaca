import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.sources.kubernetes.errors import (
    ApiStatus,
    Broken,
    Doubtful,
    Garbled,
    KubernetesError,
    Oversized,
    Rewound,
    Silent,
    Unreachable,
)
from lookaside.sources.kubernetes.policy import (
    Phase,
    RelistBudget,
    Verdict,
    is_fruitless,
    judge,
)

TOO_LARGE = ApiStatus(504, "Too large resource version")
AGAIN = Verdict(relist=False)
AT_ONCE = Verdict(relist=False, pause=False)
RELIST = Verdict(relist=True, charged=True)
RELIST_AT_ONCE = Verdict(relist=True, charged=True, pause=False)
SOON = Verdict(relist=False, brief=True)
RELIST_FREE = Verdict(relist=True, pause=False)


def in_stream(code: int) -> ApiStatus:
    return ApiStatus(code, "", in_stream=True)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, AGAIN),
        (Unreachable(), SOON),
        (Broken(), AGAIN),
        (Garbled(), AGAIN),
        (Silent(), AT_ONCE),
        (Rewound(), RELIST_AT_ONCE),
        (Oversized(), RELIST),
        (Doubtful(), Verdict(relist=True)),
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
        (ApiStatus(429, "", retry_after=7), Verdict(relist=False, at_least=7)),
        (ApiStatus(429, "", retry_after=86_400), Verdict(relist=False, at_least=30)),
        (ApiStatus(503, "", retry_after=3), Verdict(relist=False, at_least=3)),
        (ApiStatus(504, "gateway"), AGAIN),
    ],
)
def test_a_watch_that_ended(error: KubernetesError | None, verdict: Verdict) -> None:
    assert judge(error, Phase.WATCH) == verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Unreachable(), SOON),
        (Broken(), AGAIN),
        (Garbled(), AGAIN),
        (Silent(), AGAIN),
        (Oversized(), AGAIN),
        (Doubtful(), Verdict(relist=True)),
        (TOO_LARGE, RELIST),
        (in_stream(0), RELIST),
        (ApiStatus(400, ""), AGAIN),
        (ApiStatus(403, ""), AGAIN),
        (ApiStatus(410, ""), RELIST),
        (ApiStatus(429, "", retry_after=86_400), Verdict(relist=False, at_least=30)),
        (ApiStatus(500, ""), AGAIN),
    ],
)
def test_a_list_that_failed(error: KubernetesError, verdict: Verdict) -> None:
    assert judge(error, Phase.LIST, fruitless=9) == verdict


def test_a_watch_that_closes_in_good_order_after_a_while_is_reopened_at_once() -> None:
    assert judge(None, Phase.WATCH, lived=4.9).pause
    assert not judge(None, Phase.WATCH, lived=5.0).pause


def test_a_second_watch_with_no_event_is_not_resumed() -> None:
    assert judge(Silent(), Phase.WATCH, fruitless=1) == AT_ONCE
    assert judge(Silent(), Phase.WATCH, fruitless=2) == RELIST
    assert judge(ApiStatus(500, ""), Phase.WATCH, fruitless=2) == RELIST


@pytest.mark.parametrize(
    ("error", "fruitless"),
    [
        (None, False),
        (Unreachable(), False),
        (Broken(), False),
        (ApiStatus(429, ""), False),
        (ApiStatus(401, ""), False),
        (ApiStatus(403, ""), False),
        (ApiStatus(500, ""), True),
        (Silent(), True),
        (Garbled(), True),
    ],
)
def test_what_casts_doubt_on_a_position(error: KubernetesError | None, fruitless: bool) -> None:
    assert is_fruitless(error) is fruitless


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ApiStatus(403, ""), SOON),
        (ApiStatus(503, ""), SOON),
        (ApiStatus(503, "", retry_after=1), Verdict(relist=False, at_least=1)),
        (ApiStatus(429, ""), AGAIN),
        (ApiStatus(410, ""), RELIST_FREE),
        (in_stream(410), RELIST_FREE),
        (Broken(), AGAIN),
    ],
)
def test_a_server_that_has_only_just_come_up_is_asked_again_soon(
    error: KubernetesError, verdict: Verdict
) -> None:
    assert judge(error, Phase.WATCH, starting=True) == verdict


def test_a_list_that_a_starting_server_refuses_for_its_position_is_charged() -> None:
    assert judge(ApiStatus(410, ""), Phase.LIST, starting=True) == RELIST


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
