from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.pickers.round_robin import CyclicPicker, RoundRobin
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


def test_a_tried_backend_is_passed_over() -> None:
    some = backends(1, 1, 1)
    picker = CyclicPicker(some, Random(1))
    assert {picker.pick(tried=some[:2]) for _ in range(6)} == {some[2]}


def test_where_all_were_tried_the_next_in_turn_is_picked() -> None:
    some = backends(1, 1, 1)
    picker = CyclicPicker(some, Random(1))
    assert {picker.pick(tried=some) for _ in range(3)} == set(some)


@settings(deadline=None, max_examples=100)
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
