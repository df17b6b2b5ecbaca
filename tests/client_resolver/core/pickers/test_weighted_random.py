from collections import Counter
from math import sqrt
from random import Random

from client_resolver.core.pickers.weighted_random import WeightedRandom
from tests.client_resolver.core.pickers.fakes import Clock, backends


def test_shares_are_those_of_the_weights() -> None:
    some = backends(50, 30, 20)
    picker = WeightedRandom.from_config({}).build(some, Random(9), Clock(), None)
    counts = Counter(picker.pick() for _ in range(10_000))
    for backend in some:
        share = backend.weight / 100
        assert abs(counts[backend] - 10_000 * share) < 5 * sqrt(10_000 * share * (1 - share))


def test_a_tried_backend_is_not_picked() -> None:
    some = backends(50, 30, 20)
    picker = WeightedRandom().build(some, Random(9), Clock(), None)
    assert {picker.pick(tried=some[:1]) for _ in range(200)} == set(some[1:])


def test_repr_tells_how_many() -> None:
    picker = WeightedRandom().build(backends(1, 2), Random(1), Clock(), None)
    assert repr(picker) == "<RandomPicker of 2 backends>"
