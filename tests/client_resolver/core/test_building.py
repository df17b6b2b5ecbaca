"""A table is built in steps, and the picker before it serves until it is finished."""

from collections.abc import Generator
from random import Random

import pytest
from xxhash import xxh64_intdigest

from client_resolver.core.building import Build
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


@pytest.mark.parametrize(("policy", "least"), [(RingHash(50_000, 50_000), 98), (Maglev(65537), 6)])
def test_a_large_table_is_built_in_many_steps(policy: RingHash | Maglev, least: int) -> None:
    steps = policy.build_in_steps(backends(*([1] * 20)), None)
    assert isinstance(steps, Generator)
    assert sum(1 for _ in steps) >= least


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
