from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.pickers.round_robin import CyclicPicker
from client_resolver.core.pickers.weighted_round_robin import ExactPicker, WeightedRoundRobin


@dataclass(eq=False)
class Weight:
    weight: int


WEIGHTS = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 100), st.integers(1, 2**31 - 1)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(WEIGHTS, st.integers(0, 2**32), st.integers(1, 250))
def test_no_backend_is_off_its_share_by_one_or_more_after_any_number_of_picks(
    weights: list[int], seed: int, picks: int
) -> None:
    backends = [Weight(weight) for weight in weights]
    total = sum(weights)
    picker = WeightedRoundRobin().build(backends, Random(seed))
    counts = Counter[Weight]()
    for k in range(1, picks + 1):
        counts[picker.pick()] += 1
        for backend in backends:
            assert abs(counts[backend] * total - k * backend.weight) < total


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 2**32))
def test_the_bound_holds_over_many_periods(weights: list[int], seed: int) -> None:
    backends = [Weight(weight) for weight in weights]
    total = sum(weights)
    picker = ExactPicker(backends, Random(seed))
    counts = Counter[Weight]()
    for k in range(1, 8 * total + 1):
        counts[picker.pick()] += 1
        if k % total == 0:
            assert [counts[b] for b in backends] == [k // total * b.weight for b in backends]


def test_clients_first_picks_are_spread_by_weight() -> None:
    backends = [Weight(60), Weight(30), Weight(10)]
    rng = Random(7)
    firsts = Counter(ExactPicker(backends, rng).pick().weight for _ in range(10_000))
    for backend in backends:
        assert abs(firsts[backend.weight] - 100 * backend.weight) < 200


def test_equal_weights_are_a_cycle() -> None:
    picker = WeightedRoundRobin().build([Weight(100)] * 3, Random(1))
    assert isinstance(picker, CyclicPicker)
    assert repr(picker) == "<CyclicPicker of 3 backends>"


def test_repr_tells_how_many() -> None:
    assert repr(ExactPicker([Weight(1), Weight(2)], Random(1))) == "<ExactPicker of 2 backends>"
