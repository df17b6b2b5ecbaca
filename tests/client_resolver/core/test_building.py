"""A table is built in steps, and the picker before it serves until it is finished."""

import sys
from collections.abc import Callable, Generator
from random import Random
from types import FrameType
from typing import Any, TypeAlias

import pytest
from xxhash import xxh64_intdigest

from client_resolver.core.building import STEP, Build
from client_resolver.core.config import PoolConfig
from client_resolver.core.pickers import policy_named
from client_resolver.core.pickers.maglev import Maglev
from client_resolver.core.pickers.ring_hash import RingHash, RingPicker
from client_resolver.core.pool import Pool
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends
from tests.client_resolver.core.pooling import (
    FAILED,
    by_port,
    endpoints,
    listed,
    make_pool,
    make_ready,
    picked,
    pickers,
    port_of,
)

TraceFunction: TypeAlias = Callable[[FrameType, str, Any], Any]

LARGE = [("ring_hash", {"minRingSize": 4096}), ("maglev", {"tableSize": 4093})]


def large(name: str, settings: dict[str, object]) -> PoolConfig:
    return PoolConfig(policy=policy_named(name, settings))


def keyed(pool: Pool[object]) -> set[int]:
    """Which backends keys lead to now, with nothing built first."""
    picker, _ = pool.pickers()
    if picker is None:
        return set()
    return {port_of(picker.pick(key << 53)) for key in range(2000)}


@pytest.mark.parametrize(("name", "settings"), LARGE)
def test_the_first_rpcs_wait_for_the_first_table(name: str, settings: dict[str, object]) -> None:
    pool = make_pool(large(name, settings))
    listed(pool, 1, 2)
    assert keyed(pool) == set()
    build = pool.build
    assert build is not None
    steps = 1
    while not build.step():
        steps += 1
    assert steps > 1
    pool.built(build)
    assert pool.urgent
    assert keyed(pool) == {1, 2}
    assert pool.build is None


@pytest.mark.parametrize(("name", "settings"), LARGE)
def test_until_the_next_table_is_built_the_one_before_serves_those_that_are_left(
    name: str, settings: dict[str, object]
) -> None:
    pool = make_pool(large(name, settings))
    listed(pool, 1, 2, 3)
    assert picked(pool) <= {1, 2, 3}
    pool.update(endpoints((2, 3, 4)), 0.0)
    make_ready(pool, 4)
    assert keyed(pool) == {2, 3}, "1 has left, and 4 isn't in the table"
    pool.observed(by_port(pool)[2], FAILED)
    assert keyed(pool) == {3}
    pickers(pool)
    assert keyed(pool) == {3, 4}
    pool.update(endpoints((5,)), 0.0)
    make_ready(pool, 5)
    assert keyed(pool) == {5}, "of those in the table none is left"


@pytest.mark.parametrize(("name", "settings"), LARGE)
def test_what_changes_while_a_table_is_built_is_in_the_next_one(
    name: str, settings: dict[str, object]
) -> None:
    pool = make_pool(large(name, settings))
    listed(pool, 1, 2)
    pickers(pool)
    listed(pool, 1, 2, 3)
    pool.pickers()
    first = pool.build
    assert first is not None
    listed(pool, 1, 2, 3, 4)
    pool.pickers()
    assert pool.build is first, "or lists that change often would leave none finished"
    while not first.step():
        pass
    pool.built(first)
    assert keyed(pool) == {1, 2, 3}
    assert pool.build is not None
    pickers(pool)
    assert keyed(pool) == {1, 2, 3, 4}


def test_another_policy_serves_until_the_first_table_is_built() -> None:
    pool = make_pool()
    listed(pool, 1, 2)
    assert picked(pool) == {1, 2}
    pool.configure(large("maglev", {"tableSize": 4093}), 0.0)
    listed(pool, 2, 3)
    assert keyed(pool) == {2}
    pool.configure(PoolConfig(policy=policy_named("random")), 0.0)
    listed(pool, 2, 3)
    assert keyed(pool) == {2, 3}
    assert pool.build is None


def test_a_pool_that_is_closed_has_nothing_built() -> None:
    pool = make_pool(large("maglev", {"tableSize": 4093}))
    listed(pool, 1, 2)
    pool.pickers()
    build = pool.build
    assert build is not None
    pool.close()
    pool.pickers()
    assert pool.build is None
    while not build.step():
        pass
    pool.built(build)
    assert pool.pickers() == (None, None)


def test_what_a_step_raises_is_what_picks_raise() -> None:
    def steps() -> Generator[None, None, RingPicker[FakeBackend]]:
        yield
        raise KeyError("x")

    build = Build(
        steps(), backends(1), lambda error: RingHash().build(backends(1), Random(1), Clock(), None)
    )
    assert not build.step()
    assert build.step()
    assert build.picker is not None


class Work:
    """Counts what a step does, on any machine alike: lines that run, and elements that C sorts."""

    def __init__(self) -> None:
        self.done = 0

    def of(self, step: Callable[[], object]) -> int:
        """Return how much a step has done."""
        self.done = 0
        tracing, profiling = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profiled)
        sys.settrace(self._traced)
        try:
            step()
        finally:
            sys.settrace(tracing)
            sys.setprofile(profiling)
        return self.done

    def _traced(self, frame: FrameType, event: str, arg: object) -> TraceFunction:
        self.done += event == "line"
        return self._traced

    def _profiled(self, frame: FrameType, event: str, arg: object) -> None:
        name, whole = getattr(arg, "__name__", ""), getattr(arg, "__self__", None)
        if event == "c_call" and name in ("sort", "reverse") and isinstance(whole, list):
            self.done += len(whole)
        assert name != "sorted", "how much it sorts is not seen"


@pytest.mark.parametrize(
    ("policy", "count", "least", "most"),
    [
        (RingHash(4096, 4096), 3, 5, 10 * STEP),
        (RingHash(100_000, 100_000), 20, 200, 10 * STEP),
        (RingHash(4096, 4096), 5_000, 15, 10 * STEP),
        (Maglev(4093), 3, 2, 100 * STEP),
        (Maglev(65537), 20, 6, 100 * STEP),
        (Maglev(4093), 5_000, 15, 100 * STEP),
    ],
)
def test_no_step_does_more_however_large_the_table_and_however_many_the_backends(
    policy: RingHash | Maglev, count: int, least: int, most: int
) -> None:
    steps = policy.build_in_steps(backends(*([1] * count)), None)
    assert isinstance(steps, Generator)
    build, work = Build(steps, (), lambda error: pytest.fail(repr(error))), Work()
    done = []
    while build.picker is None:
        done.append(work.of(build.step))
    assert len(done) >= least
    assert max(done) <= most


def test_a_ring_is_laid_out_as_before() -> None:
    some = backends(3, 1, 2)
    picker = RingHash(3000, 4096).build(some, Random(1), Clock(), None)
    assert isinstance(picker, RingPicker)
    expected = sorted(
        (xxh64_intdigest(f"{backend.address}_{number}".encode()), backend.address)
        for backend in some
        for number in range(500 * backend.weight)
    )
    found = [(h, b.address) for h, b in zip(picker.hashes, picker.owners, strict=True)]
    assert found == expected
