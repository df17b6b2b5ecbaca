from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from client_resolver.core.pickers.ring_hash import RingHash, RingPicker
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends

KEYS = [xxh64_intdigest(f"user {n}".encode()) for n in range(20_000)]


def ring(some: list[FakeBackend], policy: RingHash | None = None) -> RingPicker[FakeBackend]:
    picker = (policy or RingHash()).build(some, Random(1), Clock(), None)
    assert isinstance(picker, RingPicker)
    return picker


def points(picker: RingPicker[FakeBackend]) -> set[tuple[int, str]]:
    return {(h, b.address) for h, b in zip(picker.hashes, picker.owners, strict=True)}


@pytest.mark.parametrize(
    ("weights", "low", "high", "expected"),
    [
        ([1, 1, 1], 1024, 4096, [342, 342, 342]),
        ([1, 2, 5], 8, 4096, [1, 2, 5]),
        ([1, 2, 5], 1, 4096, [1, 2, 5]),
        ([1, 1], 1, 1, [1, 0]),
        ([1, 100_000], 1024, 4096, [1, 4095]),
    ],
)
def test_backends_have_points_by_weight(
    weights: list[int], low: int, high: int, expected: list[int]
) -> None:
    some = backends(*weights)
    counts = Counter(ring(some, RingHash(low, high)).owners)
    assert [counts[backend] for backend in some] == expected


def test_points_are_the_xxh64_of_address_and_number() -> None:
    picker = ring(backends(1, 1), RingHash(4, 4))
    expected = sorted(
        xxh64_intdigest(f"10.0.0.{b}:50051_{i}".encode()) for b in (0, 1) for i in (0, 1)
    )
    assert list(picker.hashes) == expected


def test_a_key_finds_the_first_point_that_is_not_before_it() -> None:
    picker = ring(backends(1, 1, 1), RingHash(3, 3))
    first, second, third = picker.hashes
    table = [
        (0, 0), (first, 0), (first + 1, 1), (second, 1), (third, 2), (third + 1, 0), (2**64 - 1, 0)
    ]  # fmt: skip
    for key, point in table:
        assert picker.pick(key) is picker.owners[point]


def test_instead_of_a_tried_backend_the_next_one_on_the_ring_is_picked() -> None:
    picker = ring(backends(1, 1, 1), RingHash(3, 3))
    one, two, three = picker.owners
    key = picker.hashes[1]
    assert picker.pick(key) is two
    assert picker.pick(key, [two]) is three
    assert picker.pick(key, [two, three]) is one
    assert picker.pick(key, [one, two, three]) is two


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 11))
def test_a_key_moves_only_if_its_point_has_gone_or_a_new_one_lies_before_it(
    weights: list[int], gone: int
) -> None:
    some = backends(*weights)
    before = ring(some)
    after = ring([b for i, b in enumerate(some) if i != gone % len(some)])
    lost, new = points(before) - points(after), points(after) - points(before)
    for key in KEYS[:300]:
        old, now = before.pick(key), after.pick(key)
        if old is not now:
            left = (_point(before, key), old.address) in lost
            assert left or (_point(after, key), now.address) in new


def _point(picker: RingPicker[FakeBackend], key: int) -> int:
    return min((h for h in picker.hashes if h >= key), default=picker.hashes[0])


@pytest.mark.parametrize("size", [3, 10, 30])
def test_no_more_keys_move_than_points_that_come_and_go(size: int) -> None:
    some = backends(*[1] * size)
    before, after = ring(some), ring(some[:-1])
    lost = len(points(before) - points(after)) / len(before.hashes)
    new = len(points(after) - points(before)) / len(after.hashes)
    moved = sum(before.pick(k) is not after.pick(k) for k in KEYS) / len(KEYS)
    # m of M random arcs together are m/M long with a standard deviation of sqrt(m)/M at most. On
    # top of that come the deviations of a sample of keys. Five of each are allowed.
    arcs = sqrt(lost / len(before.hashes)) + sqrt(new / len(after.hashes))
    sample = sqrt(0.25 / len(KEYS))
    assert 0.5 / size < moved <= lost + new + 5 * (arcs + sample)


def test_with_enough_points_each_backend_gets_its_share_of_keys() -> None:
    some = backends(1, 2, 3, 4)
    picker = ring(some, RingHash(65536, 65536))
    counts = Counter(picker.pick(key) for key in KEYS)
    for backend in some:
        share = backend.weight / 10
        arcs = share / sqrt(65536 * share)
        sample = sqrt(share * (1 - share) / len(KEYS))
        assert abs(counts[backend] / len(KEYS) - share) < 5 * (arcs + sample)


def test_the_order_of_the_list_does_not_matter() -> None:
    some = backends(1, 1, 1)
    one, other = ring(some), ring(some[::-1])
    assert all(one.pick(key) is other.pick(key) for key in KEYS[:2000])


def test_a_backend_with_a_hash_key_keeps_its_keys_under_another_address() -> None:
    policy = RingHash.from_config({"endpointHashKey": "shard"})
    old = [FakeBackend(f"10.0.0.{i}:1", metadata=(("shard", str(i)),)) for i in range(3)]
    new = [FakeBackend(f"10.9.9.{i}:1", metadata=(("shard", str(i)),)) for i in range(3)]
    before, after = ring(old, policy), ring(new, policy)
    assert all(old.index(before.pick(k)) == new.index(after.pick(k)) for k in KEYS[:2000])


def test_the_ring_is_kept_where_nothing_has_changed() -> None:
    policy, some = RingHash(), backends(1, 2)
    first = policy.build(some, Random(1), Clock(), None)
    assert policy.build(list(some), Random(1), Clock(), first) is first
    assert RingHash(2048).build(some, Random(1), Clock(), first) is not first
    assert policy.build(some[:1], Random(1), Clock(), first) is not first
    some[0].weight = 2
    assert policy.build(some, Random(1), Clock(), first) is not first


def test_the_config_is_read() -> None:
    config = {"minRingSize": "10", "maxRingSize": 20, "requestHashHeader": "X-User"}
    policy = RingHash.from_config(config)
    assert policy == RingHash(10, 20, "", "x-user")
    assert policy.keyed
    assert RingHash.from_config({}) == RingHash(1024, 4096)
    assert RingHash.from_config({"minRingSize": 5000}) == RingHash(5000, 5000)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"minRingSize": 0}, "minRingSize is 0"),
        ({"maxRingSize": 2**24}, "maxRingSize is 16777216"),
        ({"minRingSize": 9, "maxRingSize": 8}, "minRingSize is 9, more than maxRingSize, 8"),
        ({"endpointHashKey": 8}, "endpointHashKey is 8"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(config: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RingHash.from_config(config)


def test_repr_tells_how_many() -> None:
    assert repr(ring(backends(1, 1))) == "<RingPicker of 2 backends, 1024 points>"
