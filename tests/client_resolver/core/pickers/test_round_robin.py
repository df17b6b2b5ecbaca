from collections import Counter
from dataclasses import dataclass
from random import Random

from client_resolver.core.pickers import POLICIES
from client_resolver.core.pickers.round_robin import RoundRobin


@dataclass(eq=False)
class Weight:
    weight: int


def test_every_backend_has_its_turn_whatever_its_weight() -> None:
    backends = [Weight(1), Weight(50), Weight(3)]
    picker = RoundRobin().build(backends, Random(3))
    first = [picker.pick() for _ in range(3)]
    assert set(first) == set(backends)
    assert [picker.pick() for _ in range(3)] == first


def test_clients_start_anywhere() -> None:
    backends = [Weight(1) for _ in range(4)]
    rng = Random(1)
    firsts = Counter(RoundRobin().build(backends, rng).pick() for _ in range(4000))
    assert all(abs(firsts[backend] - 1000) < 150 for backend in backends)


def test_policies_are_known_by_their_service_config_names() -> None:
    assert sorted(POLICIES) == ["round_robin", "weighted_round_robin"]
    assert all(policy.name == name for name, policy in POLICIES.items())
