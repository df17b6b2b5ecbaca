"""Services are made anew in steps: small ones together, large ones at their own pace."""

from collections.abc import Iterator

import pytest

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import finish
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.index import Batch, Index
from lookaside.sources.kubernetes.merging import Merging
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from tests.faults.recording import RecordingObserver
from tests.registry.test_store_steps import Later

LARGE, SMALL = ServiceKey("shop", "large"), ServiceKey("shop", "small")


def a_slice(key: ServiceKey, count: int, name: str = "one") -> Slice:
    endpoints = tuple(SliceEndpoint(f"10.0.{n // 250}.{n % 250}") for n in range(count))
    return Slice(key, f"{key.name}-{name}", "IPv4", (SlicePort("", 1),), endpoints)


class Stage:
    """An index, and what is published of it."""

    def __init__(self) -> None:
        self.worker = Later()
        self.index = Index(Cluster(large=10), AnnotationWarnings(RecordingObserver()))
        self.published: list[dict[str, tuple[int, int]]] = []
        self.bounds: list[int | None] = []
        self.failures: list[Exception] = []
        self.merging = Merging(
            self.index, self.worker, publish=self._publish, fail=self.failures.append
        )
        finish(self.index.replacing_services([self.service(LARGE), self.service(SMALL)], 1))
        self.index.take()

    @staticmethod
    def service(key: ServiceKey) -> Service:
        return Service(key, (ServicePort("", 80),))

    def change(self, key: ServiceKey, count: int, version: int, name: str = "one") -> None:
        """Give a service's slice so many endpoints, and have that published."""
        new = a_slice(key, count, name)
        self.index.change_slices([ObjectUpdate((key.namespace, new.name), None, new, version)])
        self.merging.take(bound=version - 1, at=float(version))

    def _publish(self, batch: Batch, at: float) -> None:
        self.published.append(
            {
                key.name: (len(record.endpoints[""]) if record else -1, batch.version(key))
                for key, record in batch.changes.items()
            }
        )
        self.bounds.append(self.merging.bound)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    assert stage.failures == []


def test_changes_of_a_large_service_that_waits_are_made_once(stage: Stage) -> None:
    for version in (11, 12, 13):
        stage.change(LARGE, version + 10, version)
    stage.worker.finish()
    assert stage.published == [{"large": (23, 13)}]


def test_a_small_service_doesnt_wait_for_a_large_one(stage: Stage) -> None:
    stage.change(LARGE, 20, 11)
    # The large one rests: its work is asked for, and not begun.
    resting = stage.worker.asked.pop()
    stage.change(SMALL, 3, 12)
    stage.worker.finish()
    assert stage.published == [{"small": (3, 12)}]
    assert stage.bounds == [10]
    stage.worker.asked.append(resting)
    stage.worker.finish()
    assert stage.published[1:] == [{"large": (20, 11)}]
    assert stage.bounds == [10, None]


def test_what_comes_while_a_service_is_made_holds_back_what_is_vouched_for(stage: Stage) -> None:
    stage.change(LARGE, 20, 11)
    stage.worker.step()
    assert stage.merging.bound == 10
    stage.change(LARGE, 21, 12)
    assert stage.merging.bound == 10
    stage.worker.finish()
    assert stage.published == [{"large": (20, 11)}, {"large": (21, 12)}]
    assert stage.bounds == [11, None]


def test_a_service_that_shrinks_or_goes_meanwhile_is_published_in_order(stage: Stage) -> None:
    stage.change(LARGE, 20, 11)
    stage.worker.step()
    stage.change(LARGE, 1, 12)
    stage.index.change_services([ObjectUpdate[Service](("shop", "large"), None, None, 13)])
    stage.merging.take(bound=12, at=13)
    stage.worker.finish()
    assert stage.published == [{"large": (20, 11)}, {"large": (-1, 13)}]


def test_a_small_service_that_grows_meanwhile_is_published_in_order(stage: Stage) -> None:
    stage.change(SMALL, 3, 11)
    stage.worker.step()
    stage.change(SMALL, 30, 12)
    stage.worker.finish()
    assert [one["small"] for one in stage.published] == [(30, 12)]
    assert stage.merging.bound is None


def test_what_waits_for_publication_is_called_after_it_and_not_after_what_came_later(
    stage: Stage,
) -> None:
    called: list[int] = []
    stage.merging.after(lambda: called.append(0))
    assert called == [0]
    stage.change(LARGE, 20, 11)
    stage.merging.after(lambda: called.append(len(stage.published)))
    stage.worker.step()
    stage.change(LARGE, 21, 12)
    assert called == [0]
    stage.worker.finish()
    assert called == [0, 1]


def test_what_is_forgotten_is_not_published(stage: Stage) -> None:
    stage.change(LARGE, 20, 11)
    stage.worker.step()
    stage.change(SMALL, 3, 12)
    stage.merging.forget()
    stage.worker.finish()
    assert stage.published == []
    assert stage.merging.bound is None
    stage.change(LARGE, 22, 13)
    stage.worker.finish()
    assert stage.published == [{"large": (22, 13)}]


def test_each_small_service_takes_a_step_of_its_own_and_many_are_published_in_portions(
    stage: Stage,
) -> None:
    keys = [ServiceKey("shop", f"s{n}") for n in range(120)]
    finish(stage.index.replacing_services([stage.service(key) for key in keys], 20))
    stage.merging.take(bound=19, at=20)
    steps = stage.worker.finish()
    assert steps > 120
    assert [len(one) for one in stage.published] == [20] * 6 + [2]


@pytest.mark.parametrize("key", [LARGE, SMALL], ids=["large", "small"])
def test_what_cant_be_made_is_told(monkeypatch: pytest.MonkeyPatch, key: ServiceKey) -> None:
    def broken(key: ServiceKey) -> Iterator[int]:
        raise ValueError(key.name)

    stage = Stage()
    stage.change(key, 20 if key == LARGE else 2, 11)
    monkeypatch.setattr(stage.index, "recording", broken)
    stage.worker.finish()
    assert [str(one) for one in stage.failures] == [key.name]
    assert stage.merging.bound == 10
