import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookaside.model import Endpoint
from lookaside.registry.diff import ListDiff, diff

A, B, C = (Endpoint(f"10.0.0.{n}", 1) for n in (1, 2, 3))
B5 = Endpoint("10.0.0.2", 1, weight=5)

endpoints = st.builds(
    Endpoint,
    st.sampled_from(("10.0.0.1", "10.0.0.2", "fd00::1")),
    st.integers(1, 3),
    st.integers(0, 2),
)
lists = st.lists(endpoints, unique_by=lambda one: one.target).map(lambda some: tuple(sorted(some)))


def applied(before: tuple[Endpoint, ...], difference: ListDiff) -> tuple[Endpoint, ...]:
    """Do as a client does."""
    held = {one.target: one for one in before if one.target not in difference.removed}
    held |= {one.target: one for one in difference.changed}
    return tuple(sorted(held.values()))


@pytest.mark.parametrize(
    ("before", "after", "changed", "removed"),
    [
        ((), (), (), ()),
        ((A, B), (A, B), (), ()),
        ((), (A, B), (A, B), ()),
        ((A, B), (), (), ("10.0.0.1:1", "10.0.0.2:1")),
        ((A, C), (A, B, C), (B,), ()),
        ((A, B, C), (A, C), (), ("10.0.0.2:1",)),
        ((A, B, C), (A, B5, C), (B5,), ()),
        ((A, B), (B5, C), (B5, C), ("10.0.0.1:1",)),
    ],
)
def test_a_difference_names_what_changed_and_what_has_gone(
    before: tuple[Endpoint, ...],
    after: tuple[Endpoint, ...],
    changed: tuple[Endpoint, ...],
    removed: tuple[str, ...],
) -> None:
    found = diff(before, after)
    assert found == ListDiff(changed, removed)
    assert found.size == len(changed) + len(removed)


@given(before=lists, after=lists)
def test_applied_to_one_list_it_gives_the_other_both_ways(
    before: tuple[Endpoint, ...], after: tuple[Endpoint, ...]
) -> None:
    forth, back = diff(before, after), diff(after, before)
    assert applied(before, forth) == after
    assert applied(after, back) == before
    assert not set(forth.changed) & set(before)


@given(before=lists, after=lists)
def test_equal_endpoints_that_are_not_the_same_records_are_no_difference(
    before: tuple[Endpoint, ...], after: tuple[Endpoint, ...]
) -> None:
    copied = tuple(Endpoint(one.address, one.port, one.weight) for one in before)
    assert diff(before, copied).size == 0
    assert diff(copied, after) == diff(before, after)
