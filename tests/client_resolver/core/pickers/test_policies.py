from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Generic, TypeVar

import pytest

from client_resolver.core.picker import BasePolicy, Candidate, Picker, untried
from client_resolver.core.pickers import DEFAULT_POLICY, POLICIES, known_policies, policy_named
from tests.client_resolver.core.pickers.fakes import Clock, backends, busy

C = TypeVar("C", bound=Candidate)

NAMES = [
    "least_request",
    "maglev",
    "peak_ewma",
    "pick_first",
    "random",
    "ring_hash",
    "round_robin",
    "weighted_round_robin",
]


class Idlest(Generic[C]):
    def __init__(self, some: Sequence[C]) -> None:
        self.backends = some

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> C:
        return min(untried(self.backends, tried), key=lambda backend: len(backend.in_flight))


class IdlestPolicy(BasePolicy):
    name = "idlest"

    def build(
        self, some: Sequence[C], rng: Random, now: Callable[[], float], before: Picker[C] | None
    ) -> Picker[C]:
        return Idlest(some)


def test_a_policy_of_the_users_own_takes_ten_lines() -> None:
    policy = policy_named("idlest", {}, {"idlest": lambda config: IdlestPolicy()})
    some = busy([3, 1, 2])
    picker = policy.build(some, Random(1), Clock(), None)
    assert picker.pick() is some[1]
    assert picker.pick(tried=[some[1]]) is some[2]
    assert (policy.keyed, policy.measured, policy.load_reports) == (False, False, False)
    assert (policy.refresh, policy.connects, policy.request_hash_header) == (None, "all", "")


def test_a_policy_of_the_users_own_comes_before_one_of_the_same_name() -> None:
    extra = {"random": lambda config: IdlestPolicy()}
    assert policy_named("random", {}, extra).name == "idlest"


def test_policies_are_known_by_their_service_config_names() -> None:
    assert sorted(POLICIES) == NAMES
    assert all(policy_named(name).name == name for name in NAMES)


@pytest.mark.parametrize("name", ["least_request", "ring_hash"])
def test_the_names_that_grpc_gives_to_experimental_policies_are_known(name: str) -> None:
    assert policy_named(f"{name}_experimental").name == name
    assert f"{name}_experimental" in known_policies()


def test_without_a_word_it_is_weighted_round_robin() -> None:
    assert policy_named("weighted_round_robin") == DEFAULT_POLICY


def test_an_unknown_policy_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'nearest' is known") as caught:
        policy_named("nearest", {}, {"idlest": lambda config: IdlestPolicy()})
    assert str(caught.value).endswith("Known: " + ", ".join(sorted([*NAMES, "idlest"])))


@pytest.mark.parametrize("name", NAMES)
def test_fields_that_a_policy_does_not_know_are_ignored(name: str) -> None:
    assert policy_named(name, {"fieldOfTheFuture": 1}) == policy_named(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_picks_another_backend_while_there_is_one_that_was_not_tried(
    name: str,
) -> None:
    for weights in ((1, 1, 1), (1, 5, 9), (2**31 - 1, 1)):
        some = backends(*weights)
        picker = policy_named(name).build(some, Random(3), Clock(), None)
        for key in range(0, 2**64, 2**58 + 12345):
            tried = [picker.pick(key)]
            while len(tried) < len(some):
                tried.append(picker.pick(key, tried))
            assert set(tried) == set(some)
            assert picker.pick(key, tried) in some


@pytest.mark.parametrize("name", NAMES)
def test_a_picker_of_another_policy_before_does_no_harm(name: str) -> None:
    some = backends(1, 2)
    for other in NAMES:
        before = policy_named(other).build(some, Random(3), Clock(), None)
        assert policy_named(name).build(some, Random(3), Clock(), before).pick() in some


def test_where_none_or_all_were_tried_all_are_left() -> None:
    some = backends(1, 1)
    assert untried(some, ()) is some
    assert untried(some, some) is some
    assert untried(some, some[:1]) == some[1:]
