from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.pickers.round_robin import CyclicPicker, RoundRobin
from client_resolver.core.pickers.weighted_round_robin import WeightedRoundRobin
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends


def test_every_backend_has_its_turn_whatever_its_weight() -> None:
    some = backends(1, 50, 3)
    picker = RoundRobin().build(some, Random(3), Clock(), None)
    first = [picker.pick() for _ in range(3)]
    assert set(first) == set(some)
    assert [picker.pick() for _ in range(3)] == first


def test_clients_start_anywhere() -> None:
    some = backends(1, 1, 1, 1)
    rng = Random(1)
    firsts = Counter(CyclicPicker(some, rng).pick() for _ in range(4000))
    assert all(abs(firsts[backend] - 1000) < 150 for backend in some)


def test_the_same_backends_go_on_in_their_order_after_a_change_of_nothing() -> None:
    some = backends(1, 1, 1)
    policy = RoundRobin()
    first = policy.build(some, Random(1), Clock(), None)
    assert policy.build(some[::-1], Random(2), Clock(), first) is first
    assert policy.build(some[:2], Random(2), Clock(), first) is not first


def test_backends_that_stay_keep_their_turns_when_others_come_and_go() -> None:
    some = backends(*[1] * 6)
    policy, rng = RoundRobin(), Random(4)
    before = policy.build(some, rng, Clock(), None)
    order = [before.pick() for _ in range(6)]
    # Two have had their turn in this round, and one of them leaves, as does one that hasn't.
    assert [before.pick(), before.pick()] == order[:2]
    (new,) = backends(1)
    after = policy.build([new, *(b for b in some if b not in order[1:3])], rng, Clock(), before)
    picked = [after.pick() for _ in range(5)]
    assert [backend for backend in picked if backend is not new] == [*order[3:], order[0]]
    assert new in picked


def test_a_backend_that_arrives_may_have_any_turn() -> None:
    some, (new,) = backends(1, 1, 1), backends(1)
    policy, rng = RoundRobin(), Random(5)
    turns = Counter[int]()
    for _ in range(4000):
        picker = policy.build([*some, new], rng, Clock(), policy.build(some, rng, Clock(), None))
        turns[[picker.pick() for _ in range(4)].index(new)] += 1
    assert all(abs(turns[turn] - 1000) < 150 for turn in range(4))


@pytest.mark.parametrize("weights", [[1, 1, 1], [2, 1, 1]])
def test_in_a_fleet_that_is_replaced_all_the_time_the_newest_is_picked(
    weights: list[int],
) -> None:
    some, (new,) = backends(*weights), backends(1)
    rng, policy, picker, newest = Random(6), WeightedRoundRobin(), None, 0
    changes = 4000
    for _ in range(changes):
        picker = policy.build([*some, new], rng, Clock(), picker)
        picked = picker.pick()
        newest += picked is new
        # The one that was just picked leaves, so that those who stay are owed ever more.
        some = [b for b in (*some, new) if b is not picked]
        (new,) = backends(picked.weight)
    # It is due a quarter or a fifth. If debts just added up, it would always come last.
    assert 0.15 < newest / changes < 0.45


def test_a_tried_backend_is_passed_over() -> None:
    some = backends(1, 1, 1)
    picker = CyclicPicker(some, Random(1))
    assert {picker.pick(tried=some[:2]) for _ in range(6)} == {some[2]}


def test_where_all_were_tried_the_next_in_turn_is_picked() -> None:
    some = backends(1, 1, 1)
    picker = CyclicPicker(some, Random(1))
    assert {picker.pick(tried=some) for _ in range(3)} == set(some)


@settings(max_examples=100)
@given(
    st.integers(2, 9),
    st.integers(0, 2**32),
    st.lists(st.booleans(), max_size=60),
)
def test_passing_over_one_backend_keeps_the_others_within_one_pick_of_each_other(
    size: int, seed: int, retries: list[bool]
) -> None:
    some = backends(*[1] * size)
    picker = CyclicPicker(some, Random(seed))
    counts = Counter[FakeBackend]()
    for retry in retries:
        counts[picker.pick(tried=some[:1] if retry else ())] += 1
        others = [counts[backend] for backend in some[1:]]
        assert max(others) - min(others) <= 1
        assert counts[some[0]] <= min(others) + 1


def test_repr_tells_how_many() -> None:
    assert repr(CyclicPicker(backends(1, 1, 1), Random(1))) == "<CyclicPicker of 3 backends>"
