from collections import Counter
from random import Random

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.balancers import Balancers

ADDRESSES = tuple(parse_address(f"b{number}:50052") for number in range(4))


def test_every_balancer_is_asked_once_before_one_is_asked_again() -> None:
    for seed in range(20):
        subject = Balancers(ADDRESSES, Random(seed))
        first = subject.current
        seen = [first]
        for _ in range(3):
            assert subject.move_on()
            seen.append(subject.current)
        assert sorted(seen, key=lambda one: one.text) == list(ADDRESSES)
        assert subject.move_on()
        assert subject.current == first


def test_clients_begin_at_any_balancer_and_go_on_to_any_other() -> None:
    rng = Random(7)
    first: Counter[str] = Counter()
    after_the_first_address: Counter[str] = Counter()
    for _ in range(4000):
        subject = Balancers(ADDRESSES, rng)
        first[subject.current.text] += 1
        if subject.current == ADDRESSES[0]:
            subject.move_on()
            after_the_first_address[subject.current.text] += 1
    # The standard deviations are 27 of 1000 and 15 of 333.
    assert all(abs(first[one.text] - 1000) < 140 for one in ADDRESSES)
    assert all(abs(after_the_first_address[one.text] - 333) < 80 for one in ADDRESSES[1:])


def test_a_single_balancer_is_asked_again_and_not_named_anew() -> None:
    subject = Balancers(ADDRESSES[:1], Random(1))
    assert not subject.move_on()
    assert subject.current == ADDRESSES[0]
    assert subject.place("gone") == "gone"
    assert len(subject) == 1


def test_of_several_balancers_a_failure_names_the_one_it_is_of() -> None:
    subject = Balancers(ADDRESSES, Random(1))
    assert subject.place("gone") == f"at {subject.current.text}: gone"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_round_of_all_balancers_takes_one_wait(count: int) -> None:
    subject = Balancers(ADDRESSES[:count], Random(1))
    assert sum(subject.wait(3.0) for _ in range(count)) == 3.0


def test_there_is_no_order_of_no_balancers() -> None:
    with pytest.raises(IndexError):
        _ = Balancers((), Random(1)).current
