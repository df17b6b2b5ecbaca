from collections import Counter
from math import sqrt
from random import Random

import pytest

from client_resolver.core.pickers.sampling import draw_untried, equal_weights, sampler
from tests.client_resolver.core.pickers.fakes import backends

DRAWS = 20_000


@pytest.mark.parametrize("weights", [(1,), (7, 7, 7), (60, 30, 10), (1, 2**31 - 1), (1, 1, 98)])
def test_backends_are_drawn_by_weight(weights: tuple[int, ...]) -> None:
    some = backends(*weights)
    draw = sampler(some, Random(4))
    counts = Counter(draw() for _ in range(DRAWS))
    for backend in some:
        share = backend.weight / sum(weights)
        # Five standard deviations of a binomial count.
        assert abs(counts[backend] - DRAWS * share) <= 5 * sqrt(DRAWS * share * (1 - share)) + 1


def test_the_highest_random_number_draws_the_last_backend() -> None:
    class Highest(Random):
        def random(self) -> float:
            return 1 - 2**-53

    for weights in [(1, 1, 1), (1, 2, 3), (2**31, 2**31 - 1)]:
        some = backends(*weights)
        assert sampler(some, Highest())() is some[-1]


def test_those_that_were_tried_are_not_drawn_while_there_are_others() -> None:
    some = backends(5, 1, 3)
    rng = Random(2)
    counts = Counter(draw_untried(some, some[:1], rng) for _ in range(4000))
    assert counts.keys() == set(some[1:])
    assert abs(counts[some[2]] - 3000) < 5 * sqrt(4000 * 3 / 16)
    assert {draw_untried(some, some, rng) for _ in range(100)} == set(some)


@pytest.mark.parametrize(("weights", "equal"), [((3,), True), ((3, 3), True), ((3, 3, 4), False)])
def test_equal_weights_are_seen(weights: tuple[int, ...], equal: bool) -> None:
    assert equal_weights(backends(*weights)) is equal
