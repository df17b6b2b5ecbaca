"""Priorities by locality."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint
from client_resolver.core.priorities import LocalityPriorities

BOTH = LocalityPriorities(("node", "zone"))


@pytest.mark.parametrize(
    ("levels", "shares"),
    [
        ([(10, 10), (10, 10)], [1.0, 0.0]),
        ([(8, 10), (10, 10)], [1.0, 0.0]),
        ([(5, 10), (10, 10)], [0.7, 0.3]),
        ([(1, 4), (10, 10)], [0.35, 0.65]),
        ([(0, 10), (10, 10)], [0.0, 1.0]),
        ([(0, 0), (10, 10)], [0.0, 1.0]),
        ([(1, 4), (1, 4), (4, 4)], [0.35, 0.35, 0.3]),
        ([(1, 4), (0, 4), (1, 4)], [0.5, 0.0, 0.5]),
        ([(1, 10), (3, 10)], [0.25, 0.75]),
        ([(1, 10), (0, 10)], [1.0, 0.0]),
        ([(0, 3), (0, 1)], [0.75, 0.25]),
        ([(0, 0), (0, 0)], [1.0, 0.0]),
        ([(1, 1)], [1.0]),
        ([], []),
    ],
)
def test_a_level_takes_what_it_can_carry_and_the_next_the_rest(
    levels: list[tuple[int, int]], shares: list[float]
) -> None:
    assert BOTH.shares(levels) == pytest.approx(shares)


counts = st.integers(0, 50).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(st.lists(counts, min_size=1, max_size=5), st.integers(100, 1000))
def test_shares_sum_to_one_and_nobody_gets_any_without_a_backend(
    levels: list[tuple[int, int]], factor: int
) -> None:
    shares = LocalityPriorities(("zone",), factor).shares(levels)
    assert sum(shares) == pytest.approx(1.0)
    assert all(0.0 <= share <= 1.0 for share in shares)
    if any(available for available, _ in levels):
        assert all(
            share == 0.0
            for share, (available, _) in zip(shares, levels, strict=True)
            if not available
        )


@given(st.lists(counts, min_size=2, max_size=4), st.integers(0, 1))
def test_a_level_that_recovers_never_gets_less(levels: list[tuple[int, int]], place: int) -> None:
    available, total = levels[place]
    better = list(levels)
    better[place] = (available + 1, max(total, available + 1))
    if better[place][1] == total and any(one for one, _ in levels):
        assert BOTH.shares(better)[place] >= BOTH.shares(levels)[place] - 1e-12


@pytest.mark.parametrize(
    ("levels", "node", "zone", "level"),
    [
        (("node", "zone"), "n1", "z1", 0),
        (("node", "zone"), "n2", "z1", 1),
        (("node", "zone"), "n2", "z2", 2),
        (("zone",), "n1", "z1", 0),
        (("zone",), "n1", "z2", 1),
        (("node",), "n2", "z1", 1),
        (("node", "zone"), "", "", 2),
        (("node", "zone"), "", "z1", 1),
    ],
)
def test_a_backend_is_in_the_nearest_level_that_it_shares_with_the_client(
    levels: tuple[str, ...], node: str, zone: str, level: int
) -> None:
    endpoint = Endpoint(parse_address("10.0.0.1:80"), zone="z1", node="n1")
    assert LocalityPriorities(levels).level_of(endpoint, zone, node) == level


def test_a_backend_of_unknown_place_is_in_the_last_level() -> None:
    endpoint = Endpoint(parse_address("10.0.0.1:80"))
    assert BOTH.level_of(endpoint, "", "") == BOTH.count - 1 == 2


def test_all_fields_are_read() -> None:
    config = {"levels": ["node", "zone"], "overprovisioningFactor": 200}
    assert LocalityPriorities.parse(config) == LocalityPriorities(("node", "zone"), 200)
    assert LocalityPriorities.parse({"levels": ["zone"]}) == LocalityPriorities(("zone",), 140)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "^levels is missing$"),
        ({"levels": "zone"}, "^levels is 'zone': a list is wanted$"),
        ({"levels": []}, r"^levels is \[\]: one or more of \['node', 'zone'\], in this order"),
        ({"levels": ["zone", "node"]}, r"^levels is \['zone', 'node'\]: "),
        ({"levels": ["zone", "zone"]}, r"^levels is \['zone', 'zone'\]: "),
        ({"levels": ["region"]}, r"^levels is \['region'\]: "),
        (
            {"levels": ["zone"], "overprovisioningFactor": 99},
            "^overprovisioningFactor is 99: at least 100 ",
        ),
    ],
)
def test_a_bad_field_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalityPriorities.parse(config)
