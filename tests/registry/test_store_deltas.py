"""What watches that take deltas are sent, and those that come back with a list they know."""

import pytest

from lookaside.registry.subscription import Subscription
from tests.registry.conftest import KEY, NAME, World, record, watch, wire


def delta_watch(world: World, *, known: str = "", deltas: bool = True) -> Subscription:
    return world.store.subscribe(NAME, lambda: None, known=known, deltas=deltas)


def change(world: World, *addresses: str) -> str:
    """Change the list; return the digest that it has then."""
    world.first.update({KEY: record(*addresses)}, version=11, at=0)
    return world.store.get(NAME).digest


def test_a_watch_that_takes_deltas_gets_the_list_and_then_what_changes(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    deltas, whole = delta_watch(world), watch(world)
    assert wire(deltas) == "PRESENT 10.0.0.1,10.0.0.2,10.0.0.3"
    wire(whole)
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.4")
    assert wire(deltas) == "PRESENT +10.0.0.4 -10.0.0.3"
    assert wire(whole) == "PRESENT 10.0.0.1,10.0.0.2,10.0.0.4"
    world.first.set_stale(True)
    assert wire(deltas) == "STALE + -"


def test_a_slow_reader_gets_one_delta_over_all_that_it_missed(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    slow = delta_watch(world)
    wire(slow)
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
    change(world, "10.0.0.2", "10.0.0.3", "10.0.0.4")
    change(world, "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5")
    assert wire(slow) == "PRESENT +10.0.0.4,10.0.0.5 -10.0.0.1"
    assert wire(slow) is None


def test_a_delta_is_made_on_what_was_written_not_on_what_was_taken(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2"))
    subscription = delta_watch(world)
    wire(subscription)
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert subscription.take() == b"PRESENT +10.0.0.3 -"
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.4")
    subscription.written()
    assert wire(subscription) == "PRESENT +10.0.0.4 -10.0.0.3"


@pytest.mark.parametrize("deltas", [True, False])
def test_a_change_that_is_undone_before_it_is_taken_sends_nothing(
    world: World, deltas: bool
) -> None:
    world.sync(record("10.0.0.1"))
    subscription = delta_watch(world, deltas=deltas)
    wire(subscription)
    change(world, "10.0.0.2")
    change(world, "10.0.0.1")
    assert wire(subscription) is None
    assert world.observer.times == [0.0, 0.0]


def test_a_delta_that_is_larger_than_the_list_is_sent_whole(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    subscription = delta_watch(world)
    wire(subscription)
    change(world, "10.0.0.1")
    assert wire(subscription) == "PRESENT 10.0.0.1"
    change(world)
    assert wire(subscription) == "EMPTY "


@pytest.mark.parametrize("deltas", [True, False])
def test_who_comes_back_with_the_list_as_it_is_gets_nothing_until_it_changes(
    world: World, deltas: bool
) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2"))
    known = world.store.get(NAME).digest
    world.first.advance(99)
    subscription = delta_watch(world, known=known, deltas=deltas)
    assert wire(subscription) is None
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    whole = "PRESENT 10.0.0.1,10.0.0.2,10.0.0.3"
    assert wire(subscription) == ("PRESENT +10.0.0.3 -" if deltas else whole)


def test_who_comes_back_with_an_unknown_list_gets_the_whole(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2"))
    subscription = delta_watch(world, known="never heard of")
    assert wire(subscription) == "PRESENT 10.0.0.1,10.0.0.2"


def test_who_comes_back_with_an_earlier_list_that_others_saw_gets_a_delta(world: World) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    first = world.store.get(NAME).digest
    wire(watch(world))
    digests = [change(world, "10.0.0.1", "10.0.0.2", "10.0.0.3", f"10.0.1.{n}") for n in range(9)]
    assert wire(delta_watch(world, known=digests[5])) == "PRESENT +10.0.1.8 -10.0.1.5"
    whole = "PRESENT 10.0.0.1,10.0.0.2,10.0.0.3,10.0.1.8"
    assert wire(delta_watch(world, known=digests[5], deltas=False)) == whole
    assert wire(delta_watch(world, known=first)) == whole


def test_who_comes_back_with_an_earlier_list_that_comes_back_too_gets_nothing(
    world: World,
) -> None:
    world.sync(record("10.0.0.1", "10.0.0.2"))
    wire(watch(world))
    known = world.store.get(NAME).digest
    change(world, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    subscription = delta_watch(world, known=known)
    change(world, "10.0.0.1", "10.0.0.2")
    assert wire(subscription) is None
