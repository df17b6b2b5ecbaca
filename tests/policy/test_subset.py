from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.model import Endpoint
from lookaside.policy.subset import subset

CLIENTS = [f"client-{number}" for number in range(200)]


def some(count: int, weight: int = 100) -> tuple[Endpoint, ...]:
    return tuple(sorted(Endpoint(f"10.0.{n // 250}.{n % 250}", 1, weight) for n in range(count)))


@pytest.mark.parametrize(("size", "expected"), [(0, 5), (2, 2), (5, 5), (9, 5)])
def test_a_client_gets_as_many_as_it_asks_for(size: int, expected: int) -> None:
    assert len(subset(some(5), size, "me")) == expected


def test_a_subset_is_in_order_and_the_same_each_time() -> None:
    found = subset(some(100), 10, "me")
    assert list(found) == sorted(found)
    assert found == subset(tuple(reversed(some(100))), 10, "me")
    assert found != subset(some(100), 10, "you")


@given(count=st.integers(3, 60), size=st.integers(1, 20), gone=st.integers(0, 59))
def test_an_endpoint_that_leaves_or_arrives_changes_one_place_at_most(
    count: int, size: int, gone: int
) -> None:
    everyone = some(count)
    rest = tuple(one for index, one in enumerate(everyone) if index != gone % count)
    for client in CLIENTS[:20]:
        before, after = set(subset(everyone, size, client)), set(subset(rest, size, client))
        left = everyone[gone % count]
        assert before - after <= {left}
        assert len(after - before) <= len(before - after)


def test_over_many_clients_every_endpoint_is_chosen_about_equally_often() -> None:
    chosen = Counter(
        one.address for n in range(2_000) for one in subset(some(50), 5, f"client-{n}")
    )
    assert len(chosen) == 50
    # 200 each on average; a binomial's deviation is 13.4.
    assert 140 < min(chosen.values()) <= max(chosen.values()) < 260


def test_endpoints_of_weight_0_take_no_place() -> None:
    idle = tuple(Endpoint(f"10.1.0.{n}", 1, 0) for n in range(10))
    everyone = tuple(sorted(some(10) + idle))
    for client in CLIENTS:
        assert all(one.weight for one in subset(everyone, 5, client))
    assert subset(everyone, 10, "me") == everyone
