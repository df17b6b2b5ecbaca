"""The picker that passes over backends that can't be picked at present."""

from collections.abc import Collection, Sequence
from random import Random

import pytest

from client_resolver.core.filtering_picker import FilteringPicker
from client_resolver.core.picker import Reporting, untried
from client_resolver.core.pickers import policy_named
from tests.client_resolver.core.pickers.fakes import backends


class ByKey:
    """Goes by the key, and on from there where it is told so."""

    def __init__(self, backends: Sequence[str]) -> None:
        self.backends = list(backends)

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> str:
        return untried(self.backends[key:] + self.backends[:key], tried)[0]


class Headstrong(ByKey):
    def pick(self, key: int = 0, tried: Collection[object] = ()) -> str:
        return self.backends[key % len(self.backends)]


class Learning(ByKey):
    def __init__(self, backends: Sequence[str]) -> None:
        super().__init__(backends)
        self.told: list[object] = []

    def ended(self, backend: object, seconds: float, ok: bool) -> None:
        self.told.append((backend, seconds, ok))


@pytest.mark.parametrize(
    ("absent", "tried", "picked"),
    [
        ("b", "", "accd"),
        ("ab", "", "cccd"),
        ("b", "c", "addd"),
        # All that are present were tried: one of them again, none that is absent.
        ("b", "acd", "accd"),
        ("ab", "cd", "cccd"),
    ],
)
def test_what_is_absent_is_never_picked_and_what_was_tried_if_need_be(
    absent: str, tried: str, picked: str
) -> None:
    present = [one for one in "abcd" if one not in absent]
    tested = FilteringPicker(ByKey("abcd"), present, absent)
    assert "".join(tested.pick(key, list(tried)) for key in range(4)) == picked


def test_a_picker_that_heeds_nothing_is_corrected() -> None:
    tested = FilteringPicker(Headstrong("abc"), "ac", "b")
    assert [tested.pick(key) for key in range(6)] == ["a", "c", "c", "a", "a", "c"]


def test_a_picker_that_learns_is_told() -> None:
    inner = Learning("ab")
    tested: object = FilteringPicker(inner, "a", "b")
    assert isinstance(tested, Reporting)
    tested.ended("a", 1.5, ok=True)  # type: ignore[arg-type]
    assert inner.told == [("a", 1.5, True)]
    assert not isinstance(FilteringPicker(ByKey("ab"), "a", "b"), Reporting)


@pytest.mark.parametrize("name", ["ring_hash", "maglev"])
@pytest.mark.parametrize("weights", [[1] * 5, [3, 1, 2, 9, 1]])
def test_only_the_keys_of_what_is_absent_move(name: str, weights: list[int]) -> None:
    some = backends(*weights)
    inner = policy_named(name).build(some, Random(1), float, None)
    tested = FilteringPicker(inner, some[1:], some[:1])
    keys = [Random(7).getrandbits(64) for _ in range(2000)]
    for key in keys:
        home = inner.pick(key)
        assert tested.pick(key) is home or home is some[0]
        assert tested.pick(key) is not some[0]


def test_repr_tells_how_many_are_absent() -> None:
    some = backends(1, 1, 1)
    inner = policy_named("pick_first").build(some, Random(1), float, None)
    tested = FilteringPicker(inner, some[:1], some[1:])
    assert repr(tested) == "<FilteringPicker over <FirstPicker of 10.0.0.0:50051>, 2 absent>"
