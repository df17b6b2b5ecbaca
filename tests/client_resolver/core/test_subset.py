"""Client-side subsetting."""

from collections import Counter

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.subset import subset

addresses = st.lists(
    st.integers(0, 10_000).map(lambda n: f"10.0.{n // 256}.{n % 256}:50051"),
    min_size=1,
    max_size=40,
    unique=True,
)
sizes = st.integers(1, 40)
seeds = st.integers(0, 2**64 - 1)


@given(addresses, sizes, seeds)
def test_it_has_the_size_asked_for_and_keeps_the_order(
    given_: list[str], size: int, seed: int
) -> None:
    chosen = subset(given_, size, seed)
    assert len(chosen) == min(size, len(given_))
    assert chosen == [one for one in given_ if one in chosen]


@given(addresses, sizes, seeds, st.data())
def test_a_backend_that_leaves_moves_no_other_place(
    given_: list[str], size: int, seed: int, data: st.DataObject
) -> None:
    left = data.draw(st.sampled_from(given_))
    before = set(subset(given_, size, seed))
    after = set(subset([one for one in given_ if one != left], size, seed))
    assert before - {left} <= after
    assert left in before or after == before


@given(addresses, sizes, seeds)
def test_a_backend_that_arrives_takes_one_place_at_most(
    given_: list[str], size: int, seed: int
) -> None:
    before = set(subset(given_, size, seed))
    after = set(subset(["192.168.0.1:50051", *given_], size, seed))
    assert after - before <= {"192.168.0.1:50051"}
    assert len(before - after) <= 1


@given(addresses, sizes, seeds)
def test_the_order_of_the_list_does_not_matter(given_: list[str], size: int, seed: int) -> None:
    turned = given_[::-1]
    assert set(subset(given_, size, seed)) == set(subset(turned, size, seed))


def test_those_of_the_smallest_xxh64_are_chosen() -> None:
    names = [f"10.0.0.{n}:80" for n in range(50)]
    ranked = sorted(names, key=lambda name: xxhash.xxh64(name.encode(), seed=7).intdigest())
    assert set(subset(names, 5, 7)) == set(ranked[:5])


def test_many_clients_use_every_backend_about_as_often() -> None:
    names = [f"10.0.0.{n}:80" for n in range(20)]
    used = Counter(name for seed in range(1000) for name in subset(names, 5, seed))
    # 250 each is expected; 5 standard deviations of a binomial draw are 68.
    assert all(182 <= used[name] <= 318 for name in names)


def test_items_are_named_by_the_callable() -> None:
    items = [(n, f"10.0.0.{n}:80") for n in range(9)]
    chosen = subset(items, 3, 1, lambda item: item[1])
    assert [name for _, name in chosen] == subset([name for _, name in items], 3, 1)


def test_a_seed_is_taken_modulo_two_to_the_sixty_fourth() -> None:
    names = [f"10.0.0.{n}:80" for n in range(9)]
    assert subset(names, 3, 2**64 + 1) == subset(names, 3, 1)


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_less_than_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^subsetSize is {size}: at least 1 is allowed$"):
        subset(["10.0.0.1:80"], size, 0)
