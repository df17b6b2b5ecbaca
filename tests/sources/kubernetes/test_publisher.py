"""The publisher, with timers that ring when told to."""

from collections.abc import Callable, Collection, Iterable, Mapping

import pytest

from lookaside.model import Endpoint, Explanation, ServiceKey, ServicePort, ServiceRecord
from lookaside.registry.steps import Steps, finish
from lookaside.sources.kubernetes.index import Batch
from lookaside.sources.kubernetes.publisher import Publisher
from tests.faults.recording import FakeTime

A, B = ServiceKey("default", "a"), ServiceKey("default", "b")


class Told:
    """Explainer that says of some addresses that they are unfit."""

    def __init__(self, unfit: Iterable[str]) -> None:
        self._unfit = unfit

    def explain(self, port: str, node: str = "") -> Explanation:
        raise AssertionError((port, node))

    def known(self, port: str) -> set[tuple[str, int]]:
        assert not port
        return {(address, 1) for address in self._unfit}


def record(key: ServiceKey, *addresses: str, unfit: Iterable[str] = ()) -> ServiceRecord:
    endpoints = tuple(Endpoint(address, 1) for address in addresses)
    return ServiceRecord(key, (ServicePort(),), {"": endpoints}, explainer=Told(unfit))


class Feed:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        raise AssertionError

    def replacing(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> Steps[None]:
        yield 0
        names = sorted(each.key.name for each in records)
        self.calls.append(("replace", names, version, epoch, at))

    def update(
        self, changes: Mapping[ServiceKey, ServiceRecord | None], *, version: int, at: float
    ) -> None:
        counts = {
            key.name: None if each is None else len(each.endpoints[""])
            for key, each in changes.items()
        }
        self.calls.append(("update", counts, version, at))

    def advance(self, version: int) -> None:
        self.calls.append(("advance", version))

    def set_missing(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def set_lost(self, namespaces: Mapping[str, str]) -> None:
        raise AssertionError

    def follow_absences(self, absence: Callable[[ServiceKey], str]) -> None:
        raise AssertionError

    def set_stale(self, stale: bool) -> None:
        raise AssertionError

    def last(self) -> tuple[object, ...]:
        return self.calls[-1]


class Stage:
    def __init__(self, grace: float = 1.0) -> None:
        self.feed = Feed()
        self.time = FakeTime()
        self.base = 10
        self.known: dict[ServiceKey, ServiceRecord | None] = {}
        self.publisher = Publisher(
            self.feed, empty_grace=grace, call_later=self.time.call_later, due=self._due
        )
        finish(self.publisher.replacing([record(A, "x"), record(B, "y")], base=10, at=1.0))

    def update(
        self,
        changes: Mapping[ServiceKey, ServiceRecord | None],
        version: int,
        *,
        base: int = 10,
        at: float = 2.0,
    ) -> bool:
        self.base = max(self.base, base)
        self.known.update(changes)
        batch = Batch(changes, dict.fromkeys(changes, version))
        return self.publisher.update(batch, base=base, at=at)

    def _due(self, keys: Collection[ServiceKey]) -> None:
        changes = {key: self.known.get(key) for key in keys}
        self.publisher.update(Batch(changes), base=self.base, at=99.0)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_first_view_is_of_the_first_epoch(stage: Stage) -> None:
    assert stage.feed.calls == [("replace", ["a", "b"], 10, "kubernetes", 1.0)]


def test_a_change_has_its_own_version_and_the_base_follows(stage: Stage) -> None:
    assert stage.update({A: record(A, "x", "z")}, 13)
    assert stage.feed.calls[1:] == [("update", {"a": 2}, 13, 2.0)]
    assert not stage.update({}, 0, base=12)
    assert stage.feed.last() == ("advance", 12)
    assert stage.publisher.version == 12


def test_a_change_that_moves_the_base_is_published_before_it(stage: Stage) -> None:
    stage.update({A: record(A, "x", "z")}, 11, base=11)
    assert stage.feed.calls[1:] == [("update", {"a": 2}, 11, 2.0), ("advance", 11)]


def test_changes_of_several_versions_go_out_in_their_order(stage: Stage) -> None:
    c = ServiceKey("default", "c")
    changes = {A: record(A, "z"), B: record(B, "z"), c: record(c)}
    stage.publisher.update(Batch(changes, {A: 14, B: 12, c: 11}), base=10, at=2.0)
    assert stage.feed.calls[1:] == [
        ("update", {"c": 0}, 11, 2.0),
        ("update", {"b": 1}, 12, 2.0),
        ("update", {"a": 1}, 14, 2.0),
    ]


def test_versions_never_go_back_within_an_epoch(stage: Stage) -> None:
    stage.update({}, 0, base=9)
    assert len(stage.feed.calls) == 1
    stage.update({A: record(A, "z")}, 9, base=9)
    assert stage.feed.last() == ("update", {"a": 1}, 10, 2.0)
    finish(stage.publisher.replacing([record(A, "z"), record(B, "y")], base=8, at=3.0))
    assert stage.feed.last() == ("replace", ["a", "b"], 10, "kubernetes", 3.0)


def test_a_service_that_two_resources_touch_keeps_the_higher_version(stage: Stage) -> None:
    stage.update({A: record(A, "x", "z")}, 15)
    stage.update({A: record(A, "x")}, 12)
    assert stage.feed.last() == ("update", {"a": 1}, 15, 2.0)
    stage.update({B: record(B, "x")}, 12)
    assert stage.feed.last() == ("update", {"b": 1}, 12, 2.0)


def test_a_new_epoch_begins_lower(stage: Stage) -> None:
    stage.update({A: record(A, "x", "z")}, 15)
    stage.publisher.begin_epoch(5)
    finish(stage.publisher.replacing([record(A, "x"), record(B, "y")], base=5, at=2.0))
    assert stage.feed.last() == ("replace", ["a", "b"], 5, "kubernetes@5", 2.0)
    stage.update({A: record(A, "x", "y")}, 7, base=6)
    assert stage.feed.calls[-2:] == [("update", {"a": 2}, 7, 2.0), ("advance", 6)]


def test_a_list_that_loses_its_last_endpoint_keeps_it_for_the_grace(stage: Stage) -> None:
    assert not stage.update({A: record(A)}, 11, base=11)
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.9)
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.1)
    assert stage.feed.calls[1:] == [("update", {"a": 0}, 11, 99.0), ("advance", 11)]


def test_others_are_published_meanwhile_but_the_base_stands_still(stage: Stage) -> None:
    stage.update({A: record(A), B: record(B, "z")}, 11, base=11)
    assert stage.feed.calls[1:] == [("update", {"b": 1}, 11, 2.0)]
    stage.update({}, 0, base=12)
    assert len(stage.feed.calls) == 2
    stage.time.advance(1.0)
    assert stage.feed.calls[2:] == [("update", {"a": 0}, 11, 99.0), ("advance", 12)]


def test_an_endpoint_that_comes_ends_the_grace(stage: Stage) -> None:
    stage.update({A: record(A)}, 11)
    stage.update({A: record(A, "new")}, 12)
    assert stage.feed.last() == ("update", {"a": 1}, 12, 2.0)
    assert not stage.time.pending()


def test_another_change_neither_ends_nor_prolongs_the_grace(stage: Stage) -> None:
    stage.update({A: record(A)}, 11)
    stage.time.advance(0.5)
    stage.update({A: record(A)}, 12)
    stage.update({A: record(A)}, 13)
    assert len(stage.feed.calls) == len(stage.time.pending()) == 1
    stage.time.advance(0.5)
    assert stage.feed.last() == ("update", {"a": 0}, 13, 99.0)


def test_what_is_told_unfit_is_not_held_back(stage: Stage) -> None:
    stage.update({A: record(A, unfit=["x"])}, 11)
    assert stage.feed.last() == ("update", {"a": 0}, 11, 2.0)
    assert not stage.time.pending()


def test_of_several_endpoints_those_are_held_that_nothing_is_said_of(stage: Stage) -> None:
    stage.update({A: record(A, "x", "y", "z")}, 11)
    stage.update({A: record(A, unfit=["y"])}, 12)
    assert stage.feed.last() == ("update", {"a": 2}, 11, 2.0)
    stage.update({A: record(A, unfit=["x", "y", "z"])}, 13)
    assert stage.feed.last() == ("update", {"a": 0}, 13, 2.0)
    assert not stage.time.pending()


def test_an_endpoint_that_goes_while_another_stays_is_not_held_back(stage: Stage) -> None:
    stage.update({A: record(A, "y")}, 11)
    assert stage.feed.last() == ("update", {"a": 1}, 11, 2.0)
    assert not stage.time.pending()


def test_what_was_empty_before_is_not_held_back(stage: Stage) -> None:
    stage.update({A: record(A, unfit=["x"])}, 11)
    stage.update({A: record(A)}, 12)
    assert stage.feed.last() == ("update", {"a": 0}, 12, 2.0)
    stage.update({A: None}, 13)
    assert stage.feed.last() == ("update", {"a": None}, 13, 2.0)


def test_a_service_that_is_deleted_stays_for_the_grace(stage: Stage) -> None:
    stage.update({A: None}, 11, base=11)
    assert len(stage.feed.calls) == 1
    stage.time.advance(1.0)
    assert stage.feed.calls[1:] == [("update", {"a": None}, 11, 99.0), ("advance", 11)]


def test_a_service_that_is_made_anew_has_its_endpoints_until_the_first_grace_ends(
    stage: Stage,
) -> None:
    stage.update({A: record(A)}, 11)
    stage.time.advance(0.25)
    stage.update({A: None}, 12)
    stage.time.advance(0.25)
    stage.update({A: record(A)}, 13)
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.25)
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.25)
    assert stage.feed.last() == ("update", {"a": 0}, 13, 99.0)
    assert not stage.time.pending()


def test_a_whole_view_empties_no_list_before_the_grace_either(stage: Stage) -> None:
    finish(stage.publisher.replacing([record(B, "y")], base=12, at=3.0))
    assert stage.feed.last() == ("replace", ["a", "b"], 12, "kubernetes", 3.0)
    stage.time.advance(1.0)
    assert stage.feed.last() == ("update", {"a": None}, 12, 99.0)


def test_no_grace_holds_nothing_back() -> None:
    stage = Stage(grace=0.0)
    stage.update({A: record(A)}, 11)
    assert stage.feed.last() == ("update", {"a": 0}, 11, 2.0)


def test_a_grace_that_has_ended_is_not_begun_again_before_it_is_published() -> None:
    time = FakeTime()
    feed = Feed()
    publisher = Publisher(feed, empty_grace=1.0, call_later=time.call_later, due=lambda keys: None)
    finish(publisher.replacing([record(A, "x")], base=10, at=1.0))
    publisher.update(Batch({A: record(A)}, {A: 11}), base=10, at=2.0)
    time.advance(1.0)
    publisher.update(Batch({A: record(A)}, {A: 12}), base=12, at=3.0)
    assert feed.calls[1:] == [("update", {"a": 0}, 12, 3.0), ("advance", 12)]


def test_closing_stops_the_timers(stage: Stage) -> None:
    stage.update({A: record(A)}, 11)
    stage.publisher.close()
    assert not stage.time.pending()
