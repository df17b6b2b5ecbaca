from random import Random

from client_resolver.core.backoff import FullJitter


class Highest(Random):
    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_bounds_double_up_to_the_cap_and_start_over() -> None:
    backoff = FullJitter(0.1, 1.0, Highest())
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1


def test_waits_are_spread_from_zero_to_the_bound() -> None:
    waits = [FullJitter(1.0, 1.0, Random(seed)).next() for seed in range(1000)]
    assert min(waits) < 0.01
    assert max(waits) > 0.99
    assert abs(sum(waits) / 1000 - 0.5) < 0.05
