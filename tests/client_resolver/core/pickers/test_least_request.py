from collections import Counter
from math import log, sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.pickers.least_request import LeastRequest
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends, busy

PICKS = 20_000


def shares(some: list[FakeBackend], policy: LeastRequest, picks: int = PICKS) -> list[float]:
    picker = policy.build(some, Random(11), Clock(), None)
    counts = Counter(picker.pick() for _ in range(picks))
    return [counts[backend] / picks for backend in some]


def close(share: float, expected: float) -> bool:
    return abs(share - expected) <= 5 * sqrt(expected * (1 - expected) / PICKS)


@pytest.mark.parametrize(
    ("loads", "choices", "expected"),
    [
        ([0, 0, 0, 0], 2, [0.25, 0.25, 0.25, 0.25]),
        # The idlest of n loses only where it is not drawn: 1 - (1 - 1/n)^choices.
        ([0, 1, 2], 2, [5 / 9, 3 / 9, 1 / 9]),
        ([0, 1], 3, [7 / 8, 1 / 8]),
        ([9, 9, 9, 8], 2, [3 / 16, 3 / 16, 3 / 16, 7 / 16]),
    ],
)
def test_of_the_drawn_the_one_with_the_fewest_rpcs_is_picked(
    loads: list[int], choices: int, expected: list[float]
) -> None:
    found = shares(busy(loads), LeastRequest(choices))
    assert all(map(close, found, expected))


@pytest.mark.parametrize(
    ("loads", "weights", "bias", "expected"),
    [
        ([0, 0, 0], [60, 30, 10], 1.0, [0.6, 0.3, 0.1]),
        # Loads in proportion to the weights are equal loads.
        ([6, 3, 1], [60, 30, 10], 1.0, [0.6, 0.3, 0.1]),
        # The light one has the lower load: it loses only where it isn't drawn, 0.75 squared.
        ([9, 0], [3, 1], 1.0, [0.5625, 0.4375]),
        ([6, 1], [3, 1], 1.0, [0.5625, 0.4375]),
        ([2, 1], [3, 1], 1.0, [0.9375, 0.0625]),
        # 2 RPCs squared are 4: more for a weight of 3 than 1 for a weight of 1.
        ([2, 1], [3, 1], 2.0, [0.5625, 0.4375]),
        ([99, 0], [3, 1], 0.0, [0.75, 0.25]),
    ],
)
def test_unequal_weights_decide_who_is_drawn_and_how_much_load_counts(
    loads: list[int], weights: list[int], bias: float, expected: list[float]
) -> None:
    found = shares(busy(loads, weights), LeastRequest(2, bias))
    assert all(map(close, found, expected))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 50)), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(2, 5),
)
def test_the_idle_backend_never_starves_while_all_others_are_busy(
    others: list[tuple[int, int]], weight: int, choices: int
) -> None:
    some = busy([0, *(load for _, load in others)], [weight, *(w for w, _ in others)])
    picker = LeastRequest(choices).build(some, Random(5), Clock(), None)
    missed = (1 - weight / sum(b.weight for b in some)) ** choices
    # So many picks that it is left out of all of them once in 10^12 times.
    bound = int(12 * log(10) / -log(missed)) + 1 if missed > 0 else 1
    assert any(picker.pick() is some[0] for _ in range(bound))


@pytest.mark.parametrize("weights", [[1] * 10, [1, 2] * 5])
def test_every_backend_is_picked_and_loads_stay_close_while_rpcs_pile_up(
    weights: list[int],
) -> None:
    some = backends(*weights)
    picker = LeastRequest().build(some, Random(3), Clock(), None)
    for _ in range(100 * sum(weights)):
        picker.pick().in_flight.append(None)
    loads = [len(backend.in_flight) / backend.weight for backend in some]
    # Two choices keep the gap at log log n; plain random would be off by sqrt(100) and more.
    assert all(abs(load - 100) <= 5 for load in loads)


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 3]])
def test_a_tried_backend_is_not_picked_however_idle_it_is(weights: list[int]) -> None:
    some = busy([0, 5, 5], weights)
    picker = LeastRequest().build(some, Random(3), Clock(), None)
    assert {picker.pick(tried=some[:1]) for _ in range(100)} == set(some[1:])
    assert picker.pick(tried=some) in some


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"choiceCount": 1}, "choiceCount is 1"),
        ({"choiceCount": 101}, "choiceCount is 101"),
        ({"choiceCount": "many"}, "choiceCount is 'many'"),
        ({"activeRequestBias": -1}, "activeRequestBias is -1"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(config: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        LeastRequest.from_config(config)


def test_the_config_is_read() -> None:
    assert LeastRequest.from_config({"choiceCount": 5, "x": 1}) == LeastRequest(5, 1.0)
    assert LeastRequest.from_config({"activeRequestBias": 0.5}) == LeastRequest(2, 0.5)
