"""Clients that must be told apart, and those that need not be."""

import pytest

from lookaside.errors import ServiceNotFound
from lookaside.model import Endpoint, Hints, ServiceKey, ServiceName, ServicePort, ServiceRecord
from lookaside.policy.topology import Place
from lookaside.policy.view import View
from tests.registry.conftest import KEY, NAME, World, record, watch, wire

OTHER = ServiceKey("shop", "other")


def hinted(*zones: str) -> ServiceRecord:
    endpoints = tuple(Endpoint(f"10.0.0.{n}", 50051) for n in range(len(zones)))
    hints = tuple(Hints((zone,)) if zone else Hints() for zone in zones)
    return ServiceRecord(KEY, (ServicePort("", 80),), {"": endpoints}, hints={"": hints})


def test_clients_of_one_zone_share_bytes_whatever_their_nodes(world: World) -> None:
    world.sync(hinted("a", "b", "a"))
    views = [View(Place("a", node)) for node in ("n1", "n2", "")]
    bodies = [world.store.get(NAME, view).whole() for view in views]
    assert bodies[0] == b"PRESENT 10.0.0.0,10.0.0.2"
    assert len({id(body) for body in bodies}) == 1
    assert world.store.get(NAME, View(Place("b"))).whole() == b"PRESENT 10.0.0.1"
    elsewhere = world.store.get(NAME, View(Place("c")))
    assert elsewhere.whole() is world.store.get(NAME).whole()
    assert world.encoder.encoded == 3


def test_a_watch_is_told_of_changes_to_its_own_view_alone(world: World) -> None:
    world.sync(hinted("a", "b"))
    a, b = (world.store.subscribe(NAME, lambda: None, view=View(Place(zone))) for zone in "ab")
    assert (wire(a), wire(b)) == ("PRESENT 10.0.0.0", "PRESENT 10.0.0.1")
    world.first.update({KEY: hinted("a", "b", "b")}, version=11, at=0)
    assert (wire(a), wire(b)) == (None, "PRESENT 10.0.0.1,10.0.0.2")
    world.first.update({KEY: hinted("a", "b", "")}, version=12, at=0)
    everything = "PRESENT 10.0.0.0,10.0.0.1,10.0.0.2"
    assert (wire(a), wire(b)) == (everything, everything)


def test_each_client_has_a_subset_of_its_own_and_all_have_the_whole_of_a_short_list(
    world: World,
) -> None:
    world.sync(record(*(f"10.0.0.{n}" for n in range(1, 9))))
    lists = [
        world.store.get(NAME, View(subset=3, client=f"client {n}")).snapshot.endpoints
        for n in range(20)
    ]
    assert {len(one) for one in lists} == {3}
    assert len(set(lists)) > 5
    bodies = [world.store.get(NAME, View(subset=8, client=f"client {n}")).whole() for n in "ab"]
    assert bodies[0] is bodies[1]


def test_watchers_that_come_after_a_bookmark_share_their_bytes(world: World) -> None:
    world.sync(record("10.0.0.1"))
    wire(watch(world))
    world.first.advance(42)
    bodies = [watch(world).take() for _ in range(10)]
    assert set(bodies) == {b"PRESENT 10.0.0.1 @42"}
    assert len({id(body) for body in bodies}) == 1
    world.first.advance(43)
    assert watch(world).take() == b"PRESENT 10.0.0.1 @43"


def test_a_list_is_explained_as_its_client_sees_it(world: World) -> None:
    world.sync(hinted("a", "b"), ServiceRecord(OTHER, (), {}, external_name="db.example"))
    snapshot, explained = world.store.explain(NAME, View(Place("a")))
    assert [one.address for one in snapshot.endpoints] == ["10.0.0.0"]
    assert [one.listed for one in explained.endpoints] == [True, False]
    alias, _ = world.store.explain(ServiceName(OTHER))
    assert alias.endpoints == ()
    with pytest.raises(ServiceNotFound):
        world.store.explain(ServiceName(ServiceKey("shop", "nobody")))
