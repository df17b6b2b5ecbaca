"""The picker over the pickers of several levels."""

from collections import Counter
from collections.abc import Collection, Sequence
from random import Random

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.priority_picker import Level, PriorityPicker


class InTurn:
    """Picks one after the other, and keeps what it is told."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.backends = list(backends)
        self.keys: list[int] = []

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> str:
        self.keys.append(key)
        fresh = [one for one in self.backends if one not in tried] or self.backends
        self.backends.append(self.backends.pop(self.backends.index(fresh[0])))
        return fresh[0]


class Told(InTurn):
    def __init__(self, backends: Sequence[str]) -> None:
        super().__init__(backends)
        self.told: list[tuple[str, float, bool]] = []

    def ended(self, backend: str, seconds: float, ok: bool) -> None:
        self.told.append((backend, seconds, ok))


def level(share: float, *backends: str) -> Level[str]:
    return Level(InTurn(backends), share, backends)


def picker(*shares: float, seed: int = 0, keyed: bool = False) -> PriorityPicker[str]:
    """Levels of one backend each, named by their places."""
    levels = [level(share, str(place)) for place, share in enumerate(shares)]
    return PriorityPicker(levels, Random(seed), keyed=keyed)


weights = st.lists(st.integers(0, 1000), min_size=1, max_size=5).filter(any)


@given(weights, st.integers(0, 1000), st.integers(1, 300))
def test_each_level_is_within_less_than_a_pick_of_its_share_at_all_times(
    weights_: list[int], seed: int, picks: int
) -> None:
    shares = [weight / sum(weights_) for weight in weights_]
    # From its very beginning: a starting point within the cycle may be one pick off each side.
    tested = picker(*shares, seed=seed)
    counted: Counter[str] = Counter()
    for done in range(1, picks + 1):
        counted[tested.pick()] += 1
        for place, share in enumerate(shares):
            assert abs(counted[str(place)] - share * done) < 2
            assert share > 0 or counted[str(place)] == 0


def test_over_many_picks_the_shares_are_exact() -> None:
    tested = picker(0.7, 0.2, 0.1)
    counted = Counter(tested.pick() for _ in range(100_000))
    assert counted["0"] == pytest.approx(70_000, abs=1)
    assert counted["1"] == pytest.approx(20_000, abs=1)
    assert counted["2"] == pytest.approx(10_000, abs=1)


def test_clients_start_at_different_points() -> None:
    firsts = Counter(picker(0.5, 0.5, seed=seed).pick() for seed in range(200))
    assert set(firsts) == {"0", "1"}


def test_shares_that_do_not_sum_to_one_are_relative() -> None:
    tested = picker(0.6, 0.2)
    counted = Counter(tested.pick() for _ in range(1000))
    assert counted["0"] == pytest.approx(750, abs=1)


def test_one_level_alone_gets_all() -> None:
    tested = picker(0.0, 1.0, 0.0)
    assert {tested.pick() for _ in range(100)} == {"1"}


def test_what_was_tried_on_all_backends_of_a_level_goes_to_another() -> None:
    tested = PriorityPicker([level(1.0, "a", "b"), level(0.0, "c")], Random(0))
    assert tested.pick(tried=["a"]) == "b"
    assert tested.pick(tried=["a", "b"]) == "c"
    assert tested.pick(tried=["a", "b", "c"]) in {"a", "b"}


def test_a_level_with_backends_that_were_all_tried_is_passed_over() -> None:
    levels = [level(1.0, "a"), level(0.0, "b"), level(0.0, "c", "d")]
    assert PriorityPicker(levels, Random(0)).pick(tried=["a", "b", "c"]) == "d"


@given(st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_one_key_stays_with_one_level_whatever_is_picked_between(key: int, between: int) -> None:
    tested = picker(0.5, 0.3, 0.2, keyed=True)
    first = tested.pick(key)
    for other in range(between):
        tested.pick(other)
    assert tested.pick(key) == first


def test_keys_spread_over_the_levels_by_their_shares() -> None:
    tested = picker(0.5, 0.3, 0.2, keyed=True)
    keys = [xxhash.xxh64_intdigest(str(n).encode()) for n in range(10_000)]
    counted = Counter(map(tested.pick, keys))
    # 5 standard deviations of 10 000 binomial draws are 250, 230 and 200.
    assert counted["0"] == pytest.approx(5000, abs=250)
    assert counted["1"] == pytest.approx(3000, abs=230)
    assert counted["2"] == pytest.approx(2000, abs=200)


def test_the_largest_key_has_a_level_too() -> None:
    assert picker(0.1, 0.9, 0.0, keyed=True).pick(2**64 - 1) in {"0", "1"}


def test_the_key_is_handed_on() -> None:
    child = InTurn(["a"])
    PriorityPicker([Level(child, 1.0, ("a",))], Random(0), keyed=True).pick(42)
    assert child.keys == [42]


def test_the_picker_of_the_backends_level_is_told_what_became_of_an_rpc() -> None:
    near, far = Told(["a"]), Told(["b"])
    tested = PriorityPicker([Level(near, 1.0, ("a",)), Level(far, 0.0, ("b",))], Random(0))
    tested.ended("b", 0.5, True)
    tested.ended("a", 0.25, False)
    assert near.told == [("a", 0.25, False)]
    assert far.told == [("b", 0.5, True)]


def test_what_nobody_asked_for_is_told_to_nobody() -> None:
    near = Told(["a"])
    tested = PriorityPicker([Level(near, 0.5, ("a",)), level(0.5, "b")], Random(0))
    tested.ended("b", 0.5, True)
    tested.ended("gone", 0.5, True)
    assert near.told == []
