"""The publisher, with timers that ring when told to."""

from collections.abc import Collection, Iterable, Mapping

import pytest

from lookaside.model import Endpoint, ServiceKey, ServiceRecord
from lookaside.sources.kubernetes.index import Batch
from lookaside.sources.kubernetes.publisher import Publisher, has_endpoints
from tests.faults.recording import FakeTime

A, B = ServiceKey("default", "a"), ServiceKey("default", "b")


def record(key: ServiceKey, *addresses: str) -> ServiceRecord:
    return ServiceRecord(key, (), {"": tuple(Endpoint(address, 1) for address in addresses)})


class Feed:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def replace(
        self, records: Iterable[ServiceRecord], *, version: int, epoch: str, at: float
    ) -> None:
        self.calls.append(("replace", [each.key.name for each in records], version, epoch, at))

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

    def set_stale(self, stale: bool) -> None:
        raise AssertionError

    def last(self) -> tuple[object, ...]:
        return self.calls[-1]


class Stage:
    def __init__(self, grace: float = 1.0) -> None:
        self.feed = Feed()
        self.time = FakeTime()
        self.base = 10
        self.publisher = Publisher(
            self.feed, empty_grace=grace, call_later=self.time.call_later, due=self._due
        )
        self.publisher.replace([record(A, "x"), record(B, "y")], base=10, at=1.0)

    def update(
        self,
        changes: Mapping[ServiceKey, ServiceRecord | None],
        version: int,
        *,
        base: int = 10,
        at: float = 2.0,
        lost: Collection[ServiceKey] = (),
    ) -> bool:
        self.base = max(self.base, base)
        batch = Batch(changes, dict.fromkeys(changes, version), 0, lost)
        return self.publisher.update(batch, base=base, at=at)

    def _due(self) -> None:
        self.publisher.update(Batch({}), base=self.base, at=99.0)


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
    batch = Batch({A: None, B: record(B), ServiceKey("default", "c"): None}, {A: 14, B: 12}, 11)
    stage.publisher.update(batch, base=10, at=2.0)
    assert stage.feed.calls[1:] == [
        ("update", {"c": None}, 11, 2.0),
        ("update", {"b": 0}, 12, 2.0),
        ("update", {"a": None}, 14, 2.0),
    ]


def test_versions_never_go_back_within_an_epoch(stage: Stage) -> None:
    stage.update({}, 0, base=9)
    assert len(stage.feed.calls) == 1
    stage.update({A: None}, 9, base=9)
    assert stage.feed.last() == ("update", {"a": None}, 10, 2.0)
    stage.publisher.replace([], base=8, at=3.0)
    assert stage.feed.last() == ("replace", [], 10, "kubernetes", 3.0)


def test_a_service_that_two_resources_touch_keeps_the_higher_version(stage: Stage) -> None:
    stage.update({A: record(A, "x", "z")}, 15)
    stage.update({A: record(A, "x")}, 12)
    assert stage.feed.last() == ("update", {"a": 1}, 15, 2.0)
    stage.update({B: record(B, "x")}, 12)
    assert stage.feed.last() == ("update", {"b": 1}, 12, 2.0)


def test_a_new_epoch_begins_lower(stage: Stage) -> None:
    stage.update({A: record(A, "x", "z")}, 15)
    stage.publisher.begin_epoch(5)
    stage.publisher.replace([], base=5, at=2.0)
    assert stage.feed.last() == ("replace", [], 5, "kubernetes@5", 2.0)
    stage.update({A: record(A, "x")}, 7, base=6)
    assert stage.feed.calls[-2:] == [("update", {"a": 1}, 7, 2.0), ("advance", 6)]


def test_a_service_that_lost_its_last_slice_keeps_its_endpoints_for_the_grace(
    stage: Stage,
) -> None:
    assert not stage.update({A: record(A)}, 11, base=11, lost={A})
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.9)
    assert len(stage.feed.calls) == 1
    stage.time.advance(0.1)
    assert stage.feed.calls[1:] == [("update", {"a": 0}, 11, 99.0), ("advance", 11)]


def test_others_are_published_meanwhile_but_the_base_stands_still(stage: Stage) -> None:
    stage.update({A: record(A), B: record(B, "z")}, 11, base=11, lost={A})
    assert stage.feed.calls[1:] == [("update", {"b": 1}, 11, 2.0)]
    stage.update({}, 0, base=12)
    assert len(stage.feed.calls) == 2
    stage.time.advance(1.0)
    assert stage.feed.calls[2:] == [("update", {"a": 0}, 11, 99.0), ("advance", 12)]


def test_a_slice_made_anew_ends_the_grace(stage: Stage) -> None:
    stage.update({A: record(A)}, 11, lost={A})
    stage.update({A: record(A, "new")}, 12)
    assert stage.feed.last() == ("update", {"a": 1}, 12, 2.0)
    assert not stage.time.pending()


def test_another_change_neither_ends_nor_prolongs_the_grace(stage: Stage) -> None:
    stage.update({A: record(A)}, 11, lost={A})
    stage.time.advance(0.5)
    stage.update({A: record(A)}, 12)
    stage.update({A: record(A)}, 13, lost={A})
    assert len(stage.feed.calls) == len(stage.time.pending()) == 1
    stage.time.advance(0.5)
    assert stage.feed.last() == ("update", {"a": 0}, 13, 99.0)


@pytest.mark.parametrize(
    ("after", "lost"),
    [(record(A), False), (None, True), (record(A, "y"), True)],
    ids=["emptied within its slices", "deleted", "left with another slice"],
)
def test_what_is_not_held_back(stage: Stage, after: ServiceRecord | None, lost: bool) -> None:
    stage.update({A: after}, 11, lost={A} if lost else ())
    assert stage.feed.last()[0] == "update"
    assert not stage.time.pending()


def test_what_was_empty_before_is_not_held_back(stage: Stage) -> None:
    stage.update({A: record(A)}, 11)
    stage.update({A: record(A)}, 12, lost={A})
    assert stage.feed.last() == ("update", {"a": 0}, 12, 2.0)


def test_a_deleted_service_is_not_held_any_longer(stage: Stage) -> None:
    stage.update({A: record(A)}, 11, lost={A})
    stage.update({A: None}, 12)
    assert stage.feed.last() == ("update", {"a": None}, 12, 2.0)
    assert not stage.time.pending()


def test_a_whole_view_ends_every_grace(stage: Stage) -> None:
    stage.update({A: record(A)}, 11, lost={A})
    stage.publisher.replace([record(B, "y")], base=12, at=3.0)
    assert not stage.time.pending()
    assert stage.feed.last() == ("replace", ["b"], 12, "kubernetes", 3.0)


def test_no_grace_holds_nothing_back() -> None:
    stage = Stage(grace=0.0)
    stage.update({A: record(A)}, 11, lost={A})
    assert stage.feed.last() == ("update", {"a": 0}, 11, 2.0)


def test_a_grace_that_has_ended_is_not_begun_again_before_it_is_published() -> None:
    time = FakeTime()
    feed = Feed()
    publisher = Publisher(feed, empty_grace=1.0, call_later=time.call_later, due=lambda: None)
    publisher.replace([record(A, "x")], base=10, at=1.0)
    publisher.update(Batch({A: record(A)}, {A: 11}, 0, {A}), base=10, at=2.0)
    time.advance(1.0)
    publisher.update(Batch({A: record(A)}, {A: 12}, 0, {A}), base=12, at=3.0)
    assert feed.calls[1:] == [("update", {"a": 0}, 12, 3.0), ("advance", 12)]


def test_closing_stops_the_timers(stage: Stage) -> None:
    stage.update({A: record(A)}, 11, lost={A})
    stage.publisher.close()
    assert not stage.time.pending()


def test_a_service_has_endpoints_if_any_port_has() -> None:
    endpoint = Endpoint("x", 1)
    assert has_endpoints(ServiceRecord(A, (), {"a": (), "b": (endpoint,)}))
    assert not has_endpoints(ServiceRecord(A, (), {"a": ()}))
    assert not has_endpoints(ServiceRecord(A, (), {}))
