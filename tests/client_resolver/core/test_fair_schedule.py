import sys
from collections import Counter
from collections.abc import Callable
from math import sqrt
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.fair_schedule import FairSchedule

ONE = 1 << 20
"""Debts are kept in so many parts of a turn."""

WEIGHTS = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 100), st.integers(1, 2**31 - 1)),
    min_size=1,
    max_size=12,
)


def turns(
    weights: list[int], seed: int | Random, debts: dict[int, float] | None = None
) -> FairSchedule[int]:
    """Items are named by their places."""
    rng = seed if isinstance(seed, Random) else Random(seed)
    return FairSchedule(range(len(weights)), weights, rng, debts)


@settings(max_examples=150)
@given(WEIGHTS, st.integers(0, 2**32), st.integers(1, 200))
def test_nobody_is_ever_off_its_share_by_a_turn(weights: list[int], seed: int, count: int) -> None:
    tested, total = turns(weights, seed), sum(weights)
    begin, got = tested.debts(), Counter[int]()
    for now in range(count + 1):
        for place, debt in tested.debts().items():
            assert -1 < debt < 1
            # It is what was due, less what was had.
            due = now * weights[place] / total
            assert debt == pytest.approx(begin[place] + due - got[place], abs=1e-6)
        got[tested.take()] += 1


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 2**32))
def test_over_many_rounds_nothing_drifts(weights: list[int], seed: int) -> None:
    tested, total = turns(weights, seed), sum(weights)
    got = Counter(tested.take() for _ in range(50 * total))
    assert all(abs(got[place] - 50 * weight) <= 1 for place, weight in enumerate(weights))


@pytest.mark.parametrize(
    "weights",
    [[1], [1, 1], [3, 1], [99, 1], [60, 30, 10], [5, 2, 2], [9, 5, 4, 1], [100, *[1] * 20]],
)
def test_every_turn_from_the_first_on_is_as_likely_as_the_weights_say(weights: list[int]) -> None:
    rng, rounds = Random(5), 8000
    orders = [turns(weights, rng) for _ in range(rounds)]
    for _ in range(4):
        got = Counter(order.take() for order in orders)
        for place, weight in enumerate(weights):
            share = weight / sum(weights)
            # Five standard deviations of a binomial count.
            spread = sqrt(rounds * share * (1 - share))
            assert abs(got[place] - rounds * share) <= 5 * spread


@settings(max_examples=100)
@given(st.data(), st.integers(2, 6), st.integers(0, 2**32))
def test_debts_outlast_changes_of_weights(data: st.DataObject, size: int, seed: int) -> None:
    weights = st.lists(st.integers(1, 1000), min_size=size, max_size=size)
    tested = turns([1] * size, seed)
    tested.take()
    before = turns([1] * size, seed, tested.debts()).debts()
    got, due = Counter[int](), [0.0] * size
    # That far, an adversary drives debts who takes the weight from whoever has had a turn.
    most = sum(1 / k for k in range(1, size + 1))
    known = before
    for given_, count in data.draw(st.lists(st.tuples(weights, st.integers(1, 9)), max_size=40)):
        tested = turns(given_, seed, known)
        for _ in range(count):
            got[tested.take()] += 1
            for place, weight in enumerate(given_):
                due[place] += weight / sum(given_)
            known = tested.debts()
            for place, debt in known.items():
                assert -1.001 < debt < most
                expected = before[place] + due[place] - got[place]
                assert debt == pytest.approx(expected, abs=1e-4)


def test_who_hardly_comes_up_between_two_changes_gets_its_share_all_the_same() -> None:
    rng, known = Random(2), dict[int, float]()
    got, due = Counter[int](), [0.0] * 40
    for _ in range(2000):
        # Ten of forty turns: in each order by itself, the heavier half would have them all.
        weights = [(2000 if place < 20 else 1000) + rng.randrange(100) for place in range(40)]
        tested = turns(weights, rng, known)
        for place, weight in enumerate(weights):
            due[place] += 10 * weight / sum(weights)
        got.update(tested.take() for _ in range(10))
        known = tested.debts()
    assert all(abs(got[place] - due[place]) < 2 for place in range(40))


def test_debts_are_made_to_sum_to_nothing_by_weight() -> None:
    debts = turns([1, 3], 1, {0: 0.5, 1: -0.25}).debts()
    assert debts == pytest.approx({0: 0.5 - 0.25 / 4, 1: -0.25 - 0.25 * 3 / 4}, abs=2 / ONE)


@pytest.mark.parametrize("debts", [{0: 0.75, 1: -0.75}, dict.fromkeys(range(4), 0.0)])
def test_debts_of_others_have_no_effect(debts: dict[int, float]) -> None:
    anew = turns([3, 2, 1], 7).debts()
    assert turns([3, 2, 1], 7, debts).debts() == anew


class Struck(Exception):
    """What a signal handler raises."""


def struck(number: int, work: Callable[[], object]) -> bool:
    """Do some work with an exception at one of the lines that it passes. Return whether it came."""
    passed = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal passed
        if event != "line" or not frame.f_code.co_filename.endswith("fair_schedule.py"):
            return trace
        passed += 1
        if passed == number:
            raise Struck
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Struck:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("weights", [[1, 2, 3], [5, 1, 1, 1], [100, 1]])
def test_an_exception_in_the_middle_of_a_turn_costs_no_more_than_that_turn(
    weights: list[int],
) -> None:
    total, rounds = sum(weights), 20
    for number in range(1, 60):
        order = turns(weights, number)
        for _ in range(number % total):
            order.take()
        if not struck(number, order.take):
            break
        taken = Counter(order.take() for _ in range(rounds * total))
        for item, weight in enumerate(weights):
            assert abs(taken[item] - rounds * weight) <= 2
    assert number > 10


def test_who_interrupts_a_turn_gets_one_at_random_and_disturbs_no_share() -> None:
    order = turns([1, 3], 1)
    meanwhile: list[int] = []

    def interrupt(frame: FrameType, event: str, _arg: object) -> Any:
        # Within the guard, that is once a turn is being taken.
        if event == "call" and frame.f_code.co_name == "_take":
            sys.settrace(None)
            meanwhile.append(order.take())
            sys.settrace(interrupt)

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        taken = Counter(order.take() for _ in range(400))
    finally:
        sys.settrace(before)
    assert taken == {0: 100, 1: 300}
    assert len(meanwhile) == 400
    assert set(meanwhile) == {0, 1}
