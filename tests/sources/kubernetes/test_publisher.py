"""The publisher, with timers that ring when told to."""

from collections.abc import Callable, Iterable, Mapping

import pytest

from lookaside.model import Endpoint, ServiceKey, ServiceRecord
from lookaside.sources.kubernetes.publisher import Publisher, has_endpoints

A, B = ServiceKey("default", "a"), ServiceKey("default", "b")


def record(key: ServiceKey, *addresses: str) -> ServiceRecord:
    return ServiceRecord(key, (), {"": tuple(Endpoint(address, 1) for address in addresses)})


class Timer:
    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds = seconds
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def ring(self) -> None:
        assert not self.cancelled
        self.call()


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

    def set_stale(self, stale: bool) -> None:
        raise AssertionError

    def last(self) -> tuple[object, ...]:
        return self.calls[-1]


class Stage:
    def __init__(self, grace: float = 1.0) -> None:
        self.feed = Feed()
        self.timers: list[Timer] = []
        self.publisher = Publisher(
            self.feed, empty_grace=grace, clock=lambda: 99.0, call_later=self._call_later
        )
        self.publisher.replace([record(A, "x"), record(B, "y")], version=10, at=1.0)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, call))
        return self.timers[-1]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_first_view_is_of_the_first_epoch(stage: Stage) -> None:
    assert stage.feed.calls == [("replace", ["a", "b"], 10, "kubernetes", 1.0)]


def test_a_change_is_an_update_and_no_change_an_advance(stage: Stage) -> None:
    stage.publisher.update({A: record(A, "x", "z")}, version=11, at=2.0)
    assert stage.feed.last() == ("update", {"a": 2}, 11, 2.0)
    stage.publisher.update({}, version=12, at=3.0)
    assert stage.feed.last() == ("advance", 12)


def test_versions_never_go_back_within_an_epoch(stage: Stage) -> None:
    stage.publisher.update({}, version=9, at=2.0)
    assert len(stage.feed.calls) == 1
    stage.publisher.update({A: None}, version=9, at=2.0)
    assert stage.feed.last() == ("update", {"a": None}, 10, 2.0)
    stage.publisher.replace([], version=8, at=3.0)
    assert stage.feed.last() == ("replace", [], 10, "kubernetes", 3.0)


def test_a_new_epoch_begins_lower(stage: Stage) -> None:
    stage.publisher.begin_epoch(5)
    stage.publisher.replace([], version=5, at=2.0)
    assert stage.feed.last() == ("replace", [], 5, "kubernetes@5", 2.0)
    stage.publisher.update({}, version=6, at=3.0)
    assert stage.feed.last() == ("advance", 6)


def test_a_service_that_lost_its_last_slice_keeps_its_endpoints_for_the_grace(
    stage: Stage,
) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    assert len(stage.feed.calls) == 1
    assert stage.timers[0].seconds == 1.0
    stage.timers[0].ring()
    assert stage.feed.last() == ("update", {"a": 0}, 11, 99.0)


def test_others_are_published_meanwhile_but_the_version_stands_still(stage: Stage) -> None:
    stage.publisher.update({A: record(A), B: record(B, "z")}, version=11, at=2.0, lost={A})
    assert stage.feed.last() == ("update", {"b": 1}, 10, 2.0)
    stage.publisher.update({}, version=12, at=3.0)
    assert len(stage.feed.calls) == 2
    stage.timers[0].ring()
    assert stage.feed.last() == ("update", {"a": 0}, 12, 99.0)


def test_a_slice_made_anew_ends_the_grace(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    stage.publisher.update({A: record(A, "new")}, version=12, at=3.0)
    assert stage.feed.last() == ("update", {"a": 1}, 12, 3.0)
    assert stage.timers[0].cancelled


def test_another_change_neither_ends_nor_prolongs_the_grace(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    stage.publisher.update({A: record(A)}, version=12, at=3.0)
    stage.publisher.update({A: record(A)}, version=13, at=4.0, lost={A})
    assert len(stage.feed.calls) == len(stage.timers) == 1
    stage.timers[0].ring()
    assert stage.feed.last() == ("update", {"a": 0}, 13, 99.0)


@pytest.mark.parametrize(
    ("after", "lost"),
    [(record(A), False), (None, True), (record(A, "y"), True)],
    ids=["emptied within its slices", "deleted", "left with another slice"],
)
def test_what_is_not_held_back(stage: Stage, after: ServiceRecord | None, lost: bool) -> None:
    stage.publisher.update({A: after}, version=11, at=2.0, lost={A} if lost else ())
    assert stage.feed.last()[0] == "update"
    assert not stage.timers


def test_what_was_empty_before_is_not_held_back(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0)
    stage.publisher.update({A: record(A)}, version=12, at=3.0, lost={A})
    assert stage.feed.last() == ("update", {"a": 0}, 12, 3.0)


def test_a_deleted_service_is_not_held_any_longer(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    stage.publisher.update({A: None}, version=12, at=3.0)
    assert stage.feed.last() == ("update", {"a": None}, 12, 3.0)
    assert stage.timers[0].cancelled


def test_a_whole_view_ends_every_grace(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    stage.publisher.replace([record(B, "y")], version=12, at=3.0)
    assert stage.timers[0].cancelled
    assert stage.feed.last() == ("replace", ["b"], 12, "kubernetes", 3.0)


def test_no_grace_holds_nothing_back() -> None:
    stage = Stage(grace=0.0)
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    assert stage.feed.last() == ("update", {"a": 0}, 11, 2.0)


def test_closing_stops_the_timers(stage: Stage) -> None:
    stage.publisher.update({A: record(A)}, version=11, at=2.0, lost={A})
    stage.publisher.close()
    assert stage.timers[0].cancelled


def test_a_service_has_endpoints_if_any_port_has() -> None:
    endpoint = Endpoint("x", 1)
    assert has_endpoints(ServiceRecord(A, (), {"a": (), "b": (endpoint,)}))
    assert not has_endpoints(ServiceRecord(A, (), {"a": ()}))
    assert not has_endpoints(ServiceRecord(A, (), {}))
