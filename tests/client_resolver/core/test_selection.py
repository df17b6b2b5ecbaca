import pytest

from client_resolver.core.backend import Backend
from client_resolver.core.config import PoolConfig
from client_resolver.core.selection import reweigh, select
from client_resolver.core.slow_start import SlowStart
from tests.client_resolver.core.pooling import endpoint


def backends(weights: list[int], ejected: int = 0) -> list[Backend[object]]:
    those: list[Backend[object]] = [
        Backend(endpoint(port, weight)) for port, weight in enumerate(weights, 1)
    ]
    for backend in those[:ejected]:
        backend.ejected_until = 9.0
    return those


@pytest.mark.parametrize(
    ("ready", "ejected", "threshold", "left", "panic"),
    [
        (0, 0, 0, 0, False),
        (4, 0, 100, 4, False),
        (4, 1, 0, 3, False),
        (4, 4, 0, 4, True),
        (4, 2, 50, 2, False),
        (4, 3, 50, 4, True),
        (4, 1, 100, 4, True),
        (3, 2, 33, 1, False),
        (3, 2, 34, 3, True),
    ],
)
def test_ejected_backends_are_left_out_unless_too_few_were_left(
    ready: int, ejected: int, threshold: int, left: int, panic: bool
) -> None:
    those = backends([1] * ready, ejected)
    assert select(those, threshold) == (those[ready - left :], panic)


@pytest.mark.parametrize(
    ("now", "expected", "again"),
    [
        (10.0, [300, 20, 500], 0.5),
        (15.0, [300, 100, 500], 0.5),
        (19.99, [300, 200, 500], 0.5),
        (20.0, [3, 2, 5], None),
    ],
)
def test_weights_are_scaled_while_a_backend_warms_up(
    now: float, expected: list[int], again: float | None
) -> None:
    those = backends([3, 2, 5])
    those[1].late = True
    those[0].ready_since = those[1].ready_since = those[2].ready_since = 10.0
    assert reweigh(those, PoolConfig(slow_start=SlowStart(10)), now) == again
    assert [backend.weight for backend in those] == expected


def test_a_backend_that_was_never_ready_has_the_least_share_and_sets_no_timer() -> None:
    those = backends([1, 1])
    those[1].late = True
    assert reweigh(those, PoolConfig(slow_start=SlowStart(10)), 99.0) is None
    assert [backend.weight for backend in those] == [100, 10]


def test_no_backend_is_without_a_weight_however_slow_its_start() -> None:
    those = backends([1, 1])
    those[1].late, those[1].ready_since = True, 99.0
    reweigh(those, PoolConfig(slow_start=SlowStart(10, min_weight_percent=0.1)), 99.0)
    assert [backend.weight for backend in those] == [100, 1]


def test_without_slow_start_weights_are_the_lists() -> None:
    (one,) = backends([7])
    one.late, one.ready_since, one.weight = True, 0.0, 1
    assert reweigh([one], PoolConfig(), 0.0) is None
    assert one.weight == 7
