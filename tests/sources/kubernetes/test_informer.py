"""One resource of a source, told by its reflector."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from lookaside.model import ServiceKey
from lookaside.registry.slices import Service
from lookaside.registry.steps import Steps, finish
from lookaside.sources.kubernetes.api.client import Stream
from lookaside.sources.kubernetes.api.errors import Unreachable
from lookaside.sources.kubernetes.informer import ResourceInformer
from lookaside.sources.kubernetes.objects.resources import SERVICES_RESOURCE
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from lookaside.sources.kubernetes.source_settings import KubernetesSettings
from tests.faults.recording import FakeTime

CART = Service(ServiceKey("shop", "cart"))


class Stage:
    """A informer, and what it told: its owner and its index."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.informer: ResourceInformer[Service] = ResourceInformer(
            SERVICES_RESOURCE,
            self,
            self,
            replace=self._replace,
            change=self._change,
            namespace=None,
            settings=KubernetesSettings(),
            timing=FakeTime().timing(),
        )

    def open(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        accept: str,
        connect_timeout: float,
        read_timeout: float,
    ) -> AbstractAsyncContextManager[Stream]:
        raise Unreachable

    def rewound(self, informer: object) -> None:
        assert informer is self.informer
        self.told.append(("rewound", self.informer.version))

    def listed(self, *, at: float) -> None:
        self.told.append(("listed", at))

    def followed(self, *, at: float) -> None:
        self.told.append(("followed", at))

    def contacted(self) -> None:
        self.told.append(("contacted",))

    def failed(self, reason: str) -> None:
        self.told.append(("failed", reason))

    def _replace(
        self, items: Collection[Service], version: int, namespace: str | None
    ) -> Steps[None]:
        assert namespace is None
        yield 0
        self.told.append(("replace", len(items), version))

    def _change(self, updates: Sequence[ObjectUpdate[Service]]) -> None:
        self.told.append(("change", [each.version for each in updates]))


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    finish(stage.informer.replacing([CART], 1000, rewound=False, at=1.0))
    return stage


def changed(stage: Stage, version: int, *, at: float = 2.0) -> None:
    update = ObjectUpdate(("shop", "cart"), CART, CART, version)
    stage.informer.changed([update], version, at=at)


def test_nothing_is_known_before_the_first_list() -> None:
    informer = Stage().informer
    assert (informer.name, informer.synced, informer.version, informer.last_contact) == (
        *("services", False, 0),
        None,
    )


def test_a_list_is_put_into_the_index_before_it_is_told(stage: Stage) -> None:
    assert stage.told == [("replace", 1, 1000), ("contacted",), ("listed", 1.0)]
    assert (stage.informer.synced, stage.informer.version, stage.informer.last_contact) == (
        True,
        1000,
        1.0,
    )


def test_events_are_put_into_the_index_before_they_are_told(stage: Stage) -> None:
    changed(stage, 1001)
    assert stage.told[3:] == [("change", [1001]), ("contacted",), ("followed", 2.0)]
    assert (stage.informer.version, stage.informer.last_contact) == (1001, 2.0)


def test_a_version_that_goes_back_is_told_unless_it_was_expected(stage: Stage) -> None:
    finish(stage.informer.replacing([], 500, rewound=True, at=2.0))
    assert ("rewound", 500) in stage.told
    stage.told.clear()
    stage.informer.expect_rewind(400)
    finish(stage.informer.replacing([], 450, rewound=True, at=3.0))
    assert [what for what, *_ in stage.told] == ["replace", "contacted", "listed"]


def test_events_of_the_old_history_carry_no_version_of_it_into_the_new(stage: Stage) -> None:
    stage.informer.expect_rewind(500)
    changed(stage, 1002)
    assert stage.told[3] == ("change", [500])
    assert stage.informer.version == 500
    finish(stage.informer.replacing([], 501, rewound=True, at=3.0))
    changed(stage, 502)
    assert stage.told[-3] == ("change", [502])
    assert stage.informer.version == 502


def test_a_failure_is_handed_on(stage: Stage) -> None:
    stage.informer.failed("silent")
    assert stage.told[-1] == ("failed", "silent")
    assert stage.informer.last_contact == 1.0
