from collections import Counter
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from lookaside._pb import grpclb_pb2 as pb
from lookaside.api.grpclb.server_list import (
    ENTRIES,
    ENTRIES_PER_ENDPOINT,
    ServerListForm,
    repetitions,
    spreading,
)
from lookaside.model import (
    Endpoint,
    Revision,
    ServiceKey,
    ServiceName,
    Snapshot,
    State,
    canonical_host,
)
from lookaside.registry.steps import finish

NAME = ServiceName(ServiceKey("default", "greeter"), "")
WEIGHTS = st.lists(st.integers(0, 65_535), max_size=40)


def snapshot(*endpoints: Endpoint) -> Snapshot:
    state = State.PRESENT if endpoints else State.EMPTY
    return Snapshot(NAME, "test", state, tuple(sorted(endpoints)), Revision("digest"))


def entries(*endpoints: Endpoint) -> list[pb.Server]:
    encoded = finish(ServerListForm()(snapshot(*endpoints)))
    response = pb.LoadBalanceResponse.FromString(encoded)
    assert response.HasField("server_list")
    return list(response.server_list.servers)


def test_weights_in_lowest_terms_are_numbers_of_entries() -> None:
    assert repetitions([300, 100, 0], 1000) == [3, 1, 0]
    assert repetitions([100] * 5, 1000) == [1] * 5
    assert repetitions([7, 3], 10) == [7, 3]
    assert repetitions([], 1000) == []


def test_a_weight_of_0_gets_no_entry_even_if_all_are_0() -> None:
    assert repetitions([0, 0], 1000) == [0, 0]
    assert entries(Endpoint("10.0.0.1", 1, weight=0)) == []


@given(WEIGHTS, st.integers(1, 2_000))
def test_every_share_is_within_half_an_entry_of_its_weights_or_one_entry(
    weights: list[int], most: int
) -> None:
    counts = repetitions(weights, most)
    whole = sum(weights)
    if not whole:
        return
    assert [bool(count) for count in counts] == [bool(weight) for weight in weights]
    exact = all(
        count * whole == weight * sum(counts) for count, weight in zip(counts, weights, strict=True)
    )
    for count, weight in zip(counts, weights, strict=True):
        assert exact or count == 1 or abs(count - weight * most / whole) <= 0.5
    assert exact or sum(counts) <= most + len(weights)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_entries_are_spread_evenly(counts: list[int]) -> None:
    order = finish(spreading(counts))
    assert Counter(order) == Counter({i: count for i, count in enumerate(counts) if count})
    for index, count in enumerate(counts):
        # Anywhere in the list, an index has had its share of the entries so far.
        seen = accumulate(int(one == index) for one in order)
        for position, had in enumerate(seen, 1):
            assert abs(had - position * count / len(order)) <= len(counts)
        places = [place for place, one in enumerate(order) if one == index]
        for one, next_one in pairwise(places):
            assert next_one - one <= 2 * len(counts) + len(order) / count


def test_two_of_equal_weight_take_turns() -> None:
    assert finish(spreading([2, 2])) == [0, 1, 0, 1]
    assert finish(spreading([3, 1])) == [0, 0, 1, 0]


def test_an_entry_has_the_packed_address_the_port_and_a_token() -> None:
    found = entries(Endpoint("10.0.0.1", 50051), Endpoint("fd00::1", 80))
    assert found == [
        pb.Server(ip_address=b"\x0a\0\0\1", port=50051, load_balance_token="10.0.0.1:50051"),
        pb.Server(
            ip_address=b"\xfd" + bytes(14) + b"\x01", port=80, load_balance_token="[fd00::1]:80"
        ),
    ]


def test_a_token_is_no_longer_than_clients_take() -> None:
    longest = canonical_host("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
    [entry] = entries(Endpoint(longest, 65535))
    assert len(entry.load_balance_token) <= 50


def test_a_list_without_endpoints_is_an_empty_list() -> None:
    assert entries() == []


def test_host_names_are_left_out_of_the_shares() -> None:
    weights = {"10.0.0.1": 50, "10.0.0.2": 50, "db.example": 17}
    found = entries(*(Endpoint(host, 1, weight) for host, weight in weights.items()))
    assert [entry.load_balance_token for entry in found] == ["10.0.0.1:1", "10.0.0.2:1"]
    assert entries(Endpoint("db.example", 1)) == []


def test_a_large_list_is_bounded_and_keeps_every_backend() -> None:
    endpoints = [Endpoint(f"10.0.{i // 250}.{i % 250}", 1, weight=1 + i * 37) for i in range(3000)]
    found = entries(*endpoints)
    most = max(ENTRIES, ENTRIES_PER_ENDPOINT * len(endpoints))
    assert len(found) <= most + len(endpoints)
    assert {entry.load_balance_token for entry in found} == {one.target for one in endpoints}


def test_no_step_goes_through_more_than_a_part_of_a_large_list() -> None:
    endpoints = [Endpoint(f"10.0.{i // 250}.{i % 250}", 1, weight=1 + i % 7) for i in range(5000)]
    steps = ServerListForm()(snapshot(*endpoints))
    assert sum(1 for _ in steps) > 5000 * 4 / 500
