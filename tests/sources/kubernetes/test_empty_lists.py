"""What clients see while Services and slices are written one by one, with a clock that is told."""

from collections.abc import Collection, Iterable
from random import Random
from typing import Final

import pytest

from lookaside.api.wire import WireEncoder
from lookaside.errors import RequestError
from lookaside.model import ServiceKey, ServiceName, ServicePort, State
from lookaside.policy.topology import Place
from lookaside.policy.view import WHOLE, View
from lookaside.registry.cluster import Cluster
from lookaside.registry.grace import NOTE
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import finish
from lookaside.registry.store import Store
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.index import Batch, Index
from lookaside.sources.kubernetes.publisher import Publisher
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from tests.faults.recording import FakeTime, RecordingObserver
from tests.registry.conftest import Clock, Observer

KEY: Final = ServiceKey("shop", "greeter")
N1: Final = View(Place(node="n1"))
GRACE: Final = 1.0


class Stage:
    """A replica from its index of the cluster to its store; time passes when told."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.cluster = Cluster()
        self.index = Index(self.cluster, AnnotationWarnings(RecordingObserver()))
        self.store = Store(
            ["source"],
            encoder=WireEncoder(),
            observer=Observer(),
            clock=Clock(),
            synced=lambda source: None,
        )
        self.publisher = Publisher(
            self.store.feeds["source"],
            empty_grace=GRACE,
            call_later=self.time.call_later,
            due=self.publish_anew,
        )
        self.services: dict[tuple[str, str], Service] = {}
        self.slices: dict[tuple[str, str], Slice] = {}
        self.version = 1
        finish(self.publisher.replacing([], base=1, at=0))

    def put(self, *objects: Service | Slice) -> None:
        """Have the API server send objects, each by itself."""
        for one in objects:
            self.version += 1
            if isinstance(one, Service):
                key = (one.key.namespace, one.key.name)
                old = self.services.get(key)
                self.services[key] = one
                self.index.change_services([ObjectUpdate(key, old, one, self.version)])
            else:
                key = (one.service.namespace, one.name)
                before = self.slices.get(key)
                self.slices[key] = one
                self.index.change_slices([ObjectUpdate(key, before, one, self.version)])
            self.publish()

    def drop(self, *objects: Service | Slice) -> None:
        """Have the API server delete objects, each by itself."""
        for one in objects:
            self.version += 1
            if isinstance(one, Service):
                key = (one.key.namespace, one.key.name)
                self.index.change_services(
                    [ObjectUpdate(key, self.services.pop(key, None), None, self.version)]
                )
            else:
                key = (one.service.namespace, one.name)
                self.index.change_slices(
                    [ObjectUpdate(key, self.slices.pop(key, None), None, self.version)]
                )
            self.publish()

    def relist(self) -> None:
        """List everything anew."""
        finish(self.index.replacing_slices(list(self.slices.values()), self.version))
        finish(self.index.replacing_services(list(self.services.values()), self.version))
        self.publish()

    def publish_anew(self, keys: Collection[ServiceKey]) -> None:
        self.index.touch(keys)
        self.publish()

    def publish(self) -> None:
        touched = self.index.take()
        changes = {key: finish(self.index.recording(key)) for key in touched}
        self.publisher.update(Batch(changes, touched), base=self.version, at=0)

    def listed(self, port: str = "", view: View = WHOLE) -> list[str] | str:
        """Give the addresses that a client gets, or the name of its error."""
        try:
            shown = self.store.get(ServiceName(KEY, port), view).snapshot
        except RequestError as error:
            return type(error).__name__
        assert shown.state is (State.PRESENT if shown.endpoints else State.EMPTY)
        return [endpoint.address for endpoint in shown.endpoints]


def service(*ports: str, local: bool = False, numbers: Iterable[int] = (80, 81)) -> Service:
    named = tuple(ServicePort(*pair) for pair in zip(ports, numbers, strict=False))
    return Service(KEY, named, local=local)


def slice_(name: str, *last: int, ports: Iterable[str] = ("grpc",), ready: bool = True) -> Slice:
    endpoints = tuple(
        SliceEndpoint(f"10.0.0.{each}", ready=ready, node=f"n{each}") for each in last
    )
    return Slice(KEY, name, "IPv4", tuple(SlicePort(port, 50051) for port in ports), endpoints)


def started(*objects: Service | Slice) -> Stage:
    stage = Stage()
    stage.put(*objects)
    return stage


@pytest.mark.parametrize("number", [80, 90])
@pytest.mark.parametrize("first", ["Service", "slices"])
def test_a_port_that_is_renamed_keeps_its_endpoints_until_both_have_its_name(
    first: str, number: int
) -> None:
    stage = started(service("grpc"), slice_("a", 1))
    changes: list[Service | Slice] = [service("h2", numbers=[number]), slice_("a", 1, ports=["h2"])]
    for change in changes if first == "Service" else reversed(changes):
        stage.put(change)
        assert stage.listed() == ["10.0.0.1"]
        stage.time.advance(0.9)
    stage.time.advance(GRACE)
    assert (stage.listed(), stage.listed("h2"), stage.listed("grpc")) == (
        ["10.0.0.1"],
        ["10.0.0.1"],
        "InvalidServiceName",
    )
    assert not stage.time.pending()


def test_of_several_ports_that_which_is_renamed_keeps_its_endpoints_by_its_number() -> None:
    stage = started(service("grpc", "admin"), slice_("a", 1, ports=["grpc", "admin"]))
    stage.put(service("h2", "admin"))
    assert (stage.listed("80"), stage.listed("h2"), stage.listed("admin")) == (
        ["10.0.0.1"],
        ["10.0.0.1"],
        ["10.0.0.1"],
    )
    stage.time.advance(GRACE)
    assert (stage.listed("80"), stage.listed("81")) == ([], ["10.0.0.1"])


def test_each_port_has_its_own_grace_and_the_others_change_meanwhile() -> None:
    both = ("grpc", "admin")
    stage = started(service(*both), slice_("a", 1, ports=both), slice_("b", 2, ports=both))
    stage.put(slice_("a", 1, ports=["admin"]), slice_("b", 2, ports=["admin"]))
    assert stage.listed("grpc") == ["10.0.0.2"]
    stage.time.advance(0.75)
    stage.put(slice_("c", 3, ports=["admin"]))
    assert stage.listed("admin") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    stage.drop(*stage.slices.values())
    assert (stage.listed("grpc"), stage.listed("admin")) == (["10.0.0.2"], ["10.0.0.3"])
    stage.time.advance(0.25)
    assert (stage.listed("grpc"), stage.listed("admin")) == ([], ["10.0.0.3"])
    stage.time.advance(0.75)
    assert (stage.listed("grpc"), stage.listed("admin")) == ([], [])


def test_a_service_that_is_deleted_and_made_anew_keeps_its_endpoints() -> None:
    stage = started(service("grpc"), slice_("a", 1))
    stage.drop(service("grpc"))
    assert stage.listed() == ["10.0.0.1"]
    stage.drop(slice_("a", 1))
    stage.put(service("grpc"))
    assert stage.listed() == ["10.0.0.1"]
    stage.time.advance(0.9)
    stage.put(slice_("b", 2))
    assert stage.listed() == ["10.0.0.2"]
    stage.time.advance(GRACE)
    assert stage.listed() == ["10.0.0.2"]


def test_a_service_that_is_deleted_is_unknown_after_the_grace() -> None:
    stage = started(service("grpc"), slice_("a", 1))
    stage.drop(service("grpc"))
    stage.time.advance(0.9)
    assert stage.listed() == ["10.0.0.1"]
    stage.time.advance(0.1)
    assert stage.listed() == "ServiceNotFound"


def test_endpoints_that_move_from_a_slice_that_is_written_first_stay() -> None:
    stage = started(service("grpc"), slice_("a", 1, 2))
    stage.put(slice_("a"))
    assert stage.listed() == ["10.0.0.1", "10.0.0.2"]
    stage.relist()
    assert stage.listed() == ["10.0.0.1", "10.0.0.2"]
    stage.put(slice_("b", 1, 2))
    stage.drop(slice_("a"))
    stage.time.advance(GRACE)
    assert stage.listed() == ["10.0.0.1", "10.0.0.2"]


def test_slices_that_a_relist_lacks_are_lost_after_the_grace() -> None:
    stage = started(service("grpc"), slice_("a", 1))
    del stage.slices["shop", "a"]
    stage.relist()
    stage.time.advance(0.9)
    stage.relist()
    assert stage.listed() == ["10.0.0.1"]
    stage.time.advance(0.1)
    assert stage.listed() == []


def test_a_subset_is_taken_of_the_endpoints_that_stay() -> None:
    stage = started(service("grpc"), slice_("a", 1, 2, 3))
    view = View(subset=2, client="me")
    mine = stage.listed(view=view)
    stage.put(slice_("a"))
    assert (len(mine), stage.listed(view=view)) == (2, mine)


def test_a_nodes_own_endpoint_that_moves_stays_and_the_others_change_meanwhile() -> None:
    stage = started(service("grpc", local=True), slice_("a", 1), slice_("b", 2))
    stage.put(slice_("a"), slice_("b", 2, 3))
    assert stage.listed(view=N1) == ["10.0.0.1"]
    assert stage.listed(view=View(Place(node="n3"))) == ["10.0.0.3"]
    assert stage.listed() == ["10.0.0.2", "10.0.0.3"]
    stage.put(slice_("b", 1, 2, 3))
    assert stage.listed(view=N1) == ["10.0.0.1"]
    stage.put(slice_("b", 2, 3))
    stage.time.advance(GRACE)
    assert stage.listed(view=N1) == []


def test_endpoints_that_are_told_unfit_go_at_once() -> None:
    stage = started(service("grpc"), slice_("a", 1, 2))
    stage.put(slice_("a", 1, 2, ready=False))
    assert stage.listed() == []
    assert not stage.time.pending()


def test_a_service_that_becomes_an_alias_or_loses_a_port_is_told_at_once() -> None:
    stage = started(service("grpc", "admin"), slice_("a", 1, ports=["grpc", "admin"]))
    stage.put(service("grpc"))
    assert stage.listed("admin") == "InvalidServiceName"
    stage.put(Service(KEY, (ServicePort("grpc", 80),), "db.example"))
    assert stage.listed() == "ExternalNameService"


def test_explain_says_that_what_is_listed_has_gone() -> None:
    stage = started(service("grpc"), slice_("a", 1))
    stage.put(slice_("a"), service("grpc", "admin"), slice_("b"))
    _, told = stage.store.explain(ServiceName(KEY, "grpc"), WHOLE)
    assert [(one.address, one.listed) for one in told.endpoints] == [("10.0.0.1", True)]
    assert NOTE in told.notes
    _, told = stage.store.explain(ServiceName(KEY, "admin"), WHOLE)
    assert NOTE not in told.notes


def test_no_list_is_empty_before_it_has_been_so_for_the_grace_whatever_comes() -> None:
    """Random writes: what is told is never emptier than the truth was within the grace."""
    for seed in range(150):
        chance = Random(seed)
        local = chance.random() < 0.5
        stage = started(service("grpc", local=local), slice_("a", 1, 2))
        truth = Truth(stage)
        for _ in range(12):
            _change_something(stage, chance, local=local)
            truth.look()
            if chance.random() < 0.5:
                stage.time.advance(chance.choice((0.25, 0.5)))
                truth.look()
        stage.time.advance(2 * GRACE)
        for view in truth.views:
            assert stage.listed(view=view) == truth.now(view), seed
        assert not stage.time.pending()


class Truth:
    """The same objects in an index of its own, told at once, and since when lists are empty."""

    views = (WHOLE, N1, View(Place(node="n2")))

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._full_at = dict.fromkeys(self.views, stage.time.now)
        self._told = {view: stage.listed(view=view) for view in self.views}

    def look(self) -> None:
        """Compare what is told now: a list that empties was so for the grace, or is told unfit."""
        for view in self.views:
            now, told = self.now(view), self._stage.listed(view=view)
            before, self._told[view] = self._told[view], told
            if now and not isinstance(now, str):
                self._full_at[view] = self._stage.time.now
                assert told == now
                continue
            if before and not told and not self._unfit():
                assert self._stage.time.now - self._full_at[view] >= GRACE

    def now(self, view: View) -> list[str] | str:
        """Give the list of the objects that there are."""
        other = Stage()
        other.put(*self._stage.services.values(), *self._stage.slices.values())
        return other.listed(view=view)

    def _unfit(self) -> bool:
        return any(not one.ready for each in self._stage.slices.values() for one in each.endpoints)


def _change_something(stage: Stage, chance: Random, *, local: bool) -> None:
    name = chance.choice(("grpc", "h2"))
    match chance.choice(("service", "slice", "slice", "slice", "delete", "relist", "gone")):
        case "service":
            stage.put(service(name, local=local))
        case "slice":
            some = chance.sample((1, 2, 3), chance.randint(0, 2))
            ready = chance.random() < 0.9
            stage.put(slice_(chance.choice("ab"), *some, ports=[name], ready=ready))
        case "delete" if stage.slices:
            stage.drop(chance.choice(list(stage.slices.values())))
        case "relist":
            stage.relist()
        case "gone" if stage.services:
            stage.drop(service(name))
            stage.put(service(name, local=local))
