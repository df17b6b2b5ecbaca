from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_resolver.core.pickers.maglev import Maglev, MaglevPicker
from tests.client_resolver.core.pickers.fakes import Clock, FakeBackend, backends

SIZE = 65537


def maglev(some: list[FakeBackend], policy: Maglev | None = None) -> MaglevPicker[FakeBackend]:
    picker = (policy or Maglev()).build(some, Random(1), Clock(), None)
    assert isinstance(picker, MaglevPicker)
    return picker


@settings(max_examples=40)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_every_backend_holds_its_share_of_the_table(weights: list[int]) -> None:
    some = backends(*weights)
    counts = Counter(maglev(some, Maglev(table_size=1009)).table)
    # After whole rounds each has claimed floor(rounds · weight / largest), and one more at most in
    # the round that fills the table. So each is off by one at most, and the sum of all by one for
    # each of them, of which a backend's share counts against it.
    for backend in some:
        share = backend.weight / sum(weights)
        assert abs(counts[backend] - 1009 * share) < 2 + len(some) * share


def test_equal_backends_differ_by_one_entry_at_most() -> None:
    counts = Counter(maglev(backends(*[1] * 7)).table)
    assert sorted(set(counts.values())) == [SIZE // 7, SIZE // 7 + 1]


@pytest.mark.parametrize("size", [3, 10, 30, 100])
def test_when_a_backend_leaves_hardly_more_than_its_own_keys_move(size: int) -> None:
    some = backends(*[1] * size)
    gone = some[size // 2]
    before = maglev(some).table
    after = maglev([backend for backend in some if backend is not gone]).table
    pairs = list(zip(before, after, strict=True))
    assert abs(sum(old is gone for old, _ in pairs) - SIZE / size) < 1
    # The entries of the backend that left have to be claimed by others, whose later claims then
    # come earlier: a further entry flips only where two claims meet. The hashes, and so the flips,
    # are the same on every run: from 5 entries of 3 backends to 372 (0.6 %) of 100.
    flipped = sum(old is not new and old is not gone for old, new in pairs)
    assert flipped < SIZE / 100


def test_the_next_entries_backend_is_picked_instead_of_a_tried_one() -> None:
    picker = maglev(backends(1, 1, 1), Maglev(table_size=7))
    for key in range(20):
        chosen = picker.pick(key)
        following = [picker.table[(key + step) % 7] for step in range(7)]
        assert chosen is following[0]
        assert picker.pick(key, [chosen]) is next(b for b in following if b is not chosen)
        assert picker.pick(key, list(set(following))) is chosen


def test_a_backend_without_an_entry_is_found_when_all_others_were_tried() -> None:
    some = backends(2**31 - 1, 1)
    picker = maglev(some)
    assert set(picker.table) == {some[0]}
    assert picker.pick(5, some[:1]) is some[1]


def test_the_order_of_the_list_does_not_matter() -> None:
    some = backends(3, 1, 2)
    assert maglev(some).table == maglev(some[::-1]).table


def test_a_backend_with_a_hash_key_keeps_its_keys_under_another_address() -> None:
    policy = Maglev.from_config({"endpointHashKey": "shard", "tableSize": 1009})
    old = [FakeBackend(f"10.0.0.{i}:1", metadata=(("shard", str(i)),)) for i in range(3)]
    new = [FakeBackend(f"10.9.9.{2 - i}:1", metadata=(("shard", str(i)),)) for i in range(3)]
    before, after = maglev(old, policy), maglev(new, policy)
    assert [old.index(b) for b in before.table] == [new.index(b) for b in after.table]


def test_the_table_is_kept_where_nothing_has_changed() -> None:
    policy, some = Maglev(table_size=1009), backends(1, 2)
    first = policy.build(some, Random(1), Clock(), None)
    assert policy.build(list(some), Random(1), Clock(), first) is first
    assert Maglev(table_size=1013).build(some, Random(1), Clock(), first) is not first
    some[0].weight = 2
    assert policy.build(some, Random(1), Clock(), first) is not first


def test_the_config_is_read() -> None:
    config = {"tableSize": 1009, "requestHashHeader": "X-User", "endpointHashKey": "shard"}
    assert Maglev.from_config(config) == Maglev(1009, "shard", "x-user")
    assert Maglev.from_config({}) == Maglev(SIZE)
    assert Maglev().keyed


@pytest.mark.parametrize("size", [1, 4, 1001, 65536, 5_000_012, "big"])
def test_a_table_size_that_is_no_prime_in_range_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match=f"tableSize is '?{size}"):
        Maglev.from_config({"tableSize": size})


def test_repr_tells_how_many() -> None:
    assert repr(maglev(backends(1, 1))) == "<MaglevPicker of 2 backends, 65537 entries>"
