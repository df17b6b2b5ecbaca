from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.load import LoadReport
from client_resolver.core.pickers.measured_weights import MeasuredWeights
from client_resolver.core.pickers.round_robin import CyclicPicker
from client_resolver.core.pickers.weighted_round_robin import ExactPicker, WeightedRoundRobin
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends

LISTS = st.lists(
    st.lists(st.one_of(st.integers(0, 2), st.integers(0, 100)), min_size=5, max_size=5).filter(any),
    max_size=12,
)
"""The weights of five backends, list after list. One of weight 0 isn't in it."""


def exact(some: list[FakeBackend], rng: Random) -> ExactPicker[FakeBackend]:
    return ExactPicker(some, [backend.weight for backend in some], rng)


@settings(max_examples=150)
@given(LISTS, st.integers(1, 30), st.integers(0, 2**32))
def test_whatever_the_lists_shares_are_exact(lists: list[list[int]], picks: int, seed: int) -> None:
    policy, rng, picker = WeightedRoundRobin(), Random(seed), None
    fleet = backends(*[1] * 5)
    for weights in lists:
        some = [b for b, weight in zip(fleet, weights, strict=True) if weight]
        for backend, weight in zip(fleet, weights, strict=True):
            backend.weight = weight
        picker = policy.build(some, rng, Clock(), picker)
        total, counts = sum(weights), Counter[FakeBackend]()
        for k in range(1, picks + 1):
            counts[picker.pick()] += 1
            for backend in some:
                # A pick off at either end of a stretch, and what those who left owed.
                assert abs(counts[backend] * total - k * backend.weight) < 3 * total


def test_a_backend_that_is_light_is_not_left_out_while_the_list_changes_all_the_time() -> None:
    policy, rng, picker = WeightedRoundRobin(), Random(3), None
    some = backends(*[200] * 10, *[100] * 10)
    counts = Counter[FakeBackend]()
    for change in range(3000):
        # The list changes long before the light ones must have had a pick: one of them weighs a
        # little more, and now and then all weigh the same.
        for place, backend in enumerate(some):
            even = change % 10 == 0
            backend.weight = 100 if even or place >= 10 else 200
        some[10 + change % 10].weight += 0 if change % 10 == 0 else 1
        picker = policy.build(some, rng, Clock(), picker)
        counts.update(picker.pick() for _ in range(4))
    light = sum(counts[backend] for backend in some[10:])
    # A tenth of the time they are due half of the picks, else a third.
    assert light == pytest.approx(12_000 * (0.1 / 2 + 0.9 / 3), rel=0.01)
    assert max(counts[b] for b in some[10:]) - min(counts[b] for b in some[10:]) < 20


def test_clients_first_picks_are_spread_by_weight() -> None:
    some = backends(60, 30, 10)
    rng = Random(7)
    firsts = Counter(exact(some, rng).pick().weight for _ in range(10_000))
    for backend in some:
        assert abs(firsts[backend.weight] - 100 * backend.weight) < 200


def test_equal_weights_are_a_cycle() -> None:
    picker = WeightedRoundRobin().build(backends(100, 100, 100), Random(1), Clock(), None)
    assert isinstance(picker, CyclicPicker)


@pytest.mark.parametrize("weights", [(1, 1), (1, 2)])
def test_the_same_backends_with_the_same_weights_go_on_where_they_were(
    weights: tuple[int, ...],
) -> None:
    some, policy = backends(*weights), WeightedRoundRobin()
    first = policy.build(some, Random(1), Clock(), None)
    assert policy.build(list(some), Random(2), Clock(), first) is first
    some[0].weight = 5
    assert policy.build(some, Random(2), Clock(), first) is not first


def test_passing_over_a_backend_keeps_the_others_exact_among_themselves() -> None:
    some = backends(50, 30, 15, 5)
    picker = exact(some, Random(5))
    counts = Counter(picker.pick(tried=some[:1]) for _ in range(3000))
    assert counts[some[0]] == 0
    for backend in some[1:]:
        # Fallback draws outside the order would show as a spread of about sqrt(3000 · p · q) > 20.
        assert abs(counts[backend] - 3000 * backend.weight / 50) <= 2


def test_a_light_backend_is_found_behind_one_that_is_far_heavier() -> None:
    some = backends(2**31 - 1, 1)
    picker = exact(some, Random(1))
    assert {picker.pick(tried=some[:1]) for _ in range(5)} == {some[1]}


def test_where_all_were_tried_one_of_them_is_picked() -> None:
    some = backends(3, 1)
    assert exact(some, Random(1)).pick(tried=some) in some


def test_repr_tells_how_many() -> None:
    assert repr(exact(backends(1, 2), Random(1))) == "<ExactPicker of 2 backends>"


def test_without_backend_metrics_no_reports_are_wanted() -> None:
    policy = WeightedRoundRobin.from_config({"weightUpdatePeriod": "2s"})
    assert (policy.load_reports, policy.refresh) == (False, None)


def test_with_backend_metrics_the_reports_decide_and_the_lists_weights_do_not() -> None:
    config = {"backendMetrics": True, "blackoutPeriod": "0s", "weightUpdatePeriod": "2s"}
    policy = WeightedRoundRobin.from_config(config)
    assert (policy.load_reports, policy.refresh) == (True, 2.0)
    some = backends(1, 100, 1000)
    some[0].load = LoadReport(qps=300, application_utilization=0.5, received=100)
    some[1].load = LoadReport(qps=100, application_utilization=0.5, received=100)
    picker = policy.build(some, Random(1), Clock(), None)
    counts = Counter(picker.pick() for _ in range(6000))
    expected = {some[0]: 3000, some[1]: 1000, some[2]: 2000}
    assert all(abs(counts[backend] - share) <= 2 for backend, share in expected.items())
    assert repr(picker) == "<MeasuredPicker over <ExactPicker of 3 backends>, 2 with reports>"


def test_refreshing_without_news_goes_on_where_it_was_and_keeps_what_it_knows() -> None:
    policy, clock = WeightedRoundRobin(MeasuredWeights()), Clock()
    some = backends(1, 1)
    some[0].load = LoadReport(qps=300, cpu_utilization=0.5, received=100)
    some[1].load = LoadReport(qps=100, cpu_utilization=0.5, received=100)
    first = policy.build(some, Random(1), clock, None)
    clock.now = 105
    for backend in some:
        backend.load = None
    second = policy.build(some, Random(1), clock, first)
    assert second.pick == first.pick
    clock.now = 111
    third = policy.build(some, Random(1), clock, second)
    counts = Counter(third.pick() for _ in range(400))
    assert counts == {some[0]: 300, some[1]: 100}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"enableOobLoadReport": 1}, "enableOobLoadReport is 1"),
        ({"oobReportingPeriod": "0.01s"}, "oobReportingPeriod is 0.01s"),
        ({"backendMetrics": "yes"}, "backendMetrics is 'yes'"),
        ({"blackoutPeriod": 10}, "blackoutPeriod is 10"),
        ({"weightExpirationPeriod": "-1s"}, "weightExpirationPeriod is -1s"),
        ({"errorUtilizationPenalty": -0.5}, "errorUtilizationPenalty is -0.5"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(config: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        WeightedRoundRobin.from_config(config)


@pytest.mark.parametrize(
    ("config", "period"),
    [
        ({}, None),
        ({"oobReportingPeriod": "3s"}, 3.0),
        ({"enableOobLoadReport": True}, 10.0),
        ({"enableOobLoadReport": True, "oobReportingPeriod": "2s"}, 2.0),
        ({"enableOobLoadReport": False, "oobReportingPeriod": "2s"}, None),
    ],
)
def test_reports_come_with_rpcs_or_out_of_band(
    config: dict[str, object], period: float | None
) -> None:
    policy = WeightedRoundRobin.from_config({"backendMetrics": True, **config})
    assert policy.load_period == period
    assert policy.load_reports is (period is None)
    assert WeightedRoundRobin.from_config(config).load_period is None
