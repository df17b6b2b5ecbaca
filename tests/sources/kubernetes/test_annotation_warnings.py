from collections import Counter

import pytest
from structlog.testing import capture_logs

from lookaside.model import ServiceKey
from lookaside.registry.annotations import RefusedAnnotation
from lookaside.registry.slices import Pod, Service, Slice
from lookaside.registry.steps import finish
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from tests.faults.recording import RecordingObserver

WEIGHT, WEIGHTS = "lookaside.dev/weight", "lookaside.dev/weights"
CONFIG = "lookaside.dev/service-config"
KEY = ServiceKey("shop", "cart")


def service(weights: str = "", config: str = "") -> Service:
    return Service(KEY, weights=weights, service_config=config)


def refusal(annotation: str, reason: str = "bad") -> RefusedAnnotation:
    return RefusedAnnotation("Service", "shop", "cart", annotation, reason)


class Stage:
    def __init__(self) -> None:
        self.observer = RecordingObserver()
        self.now = 100.0
        self.warnings = AnnotationWarnings(self.observer, clock=lambda: self.now)

    def followed(self, now: Service | None, *refused: RefusedAnnotation) -> None:
        self.warnings.followed("Service", [ObjectUpdate(("shop", "cart"), None, now, 1)], refused)

    def listed(self, *now: Service, refused: tuple[RefusedAnnotation, ...] = ()) -> None:
        finish(self.warnings.listing("Service", now, refused))

    @property
    def told(self) -> Counter[tuple[str, str]]:
        return self.observer.refusals


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_one_that_is_changed_again_and_again_is_logged_once_a_minute(stage: Stage) -> None:
    with capture_logs() as logs:
        for number in range(180):
            stage.followed(service(f"x{number}"), refusal(WEIGHTS))
            stage.now += 1.0
    assert stage.told[("Service", WEIGHTS)] == 180
    assert len(logs) == 3


def test_a_refusal_is_told_once_with_all_that_is_known_of_it(stage: Stage) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            stage.followed(service("x"), refusal(WEIGHTS, "'x' is no list"))
    assert stage.told == {("Service", WEIGHTS): 1}
    assert logs == [
        {
            "event": "annotation refused",
            "log_level": "warning",
            "logger_name": "sources.kubernetes",
            "kind": "Service",
            "object": "shop/cart",
            "annotation": WEIGHTS,
            "reason": "'x' is no list",
        }
    ]


def test_another_bad_value_is_told_again(stage: Stage) -> None:
    stage.followed(service("x"), refusal(WEIGHTS))
    stage.followed(service("y"), refusal(WEIGHTS))
    assert stage.told == {("Service", WEIGHTS): 2}


@pytest.mark.parametrize("between", [service(), service("good"), None])
def test_a_value_that_was_good_between_is_told_again(stage: Stage, between: Service | None) -> None:
    stage.followed(service("x"), refusal(WEIGHTS))
    stage.followed(between)
    stage.followed(service("x"), refusal(WEIGHTS))
    assert stage.told == {("Service", WEIGHTS): 2}


def test_each_annotation_of_an_object_is_told_on_its_own(stage: Stage) -> None:
    stage.followed(service("x"), refusal(WEIGHTS))
    stage.followed(service("x", "y"), refusal(WEIGHTS), refusal(CONFIG))
    stage.followed(service("x", "z"), refusal(WEIGHTS), refusal(CONFIG))
    assert stage.told == {("Service", WEIGHTS): 1, ("Service", CONFIG): 2}


def test_a_relist_tells_nothing_anew(stage: Stage) -> None:
    stage.listed(service("x"), refused=(refusal(WEIGHTS),))
    stage.listed(service("x"))
    stage.followed(service("x", "good"), refusal(WEIGHTS))
    assert stage.told == {("Service", WEIGHTS): 1}


@pytest.mark.parametrize("listed", [(), (service("good"),), (service(),)])
def test_a_relist_shows_what_was_good_between(stage: Stage, listed: tuple[Service, ...]) -> None:
    stage.followed(service("x"), refusal(WEIGHTS))
    stage.listed(*listed)
    stage.listed(service("x"), refused=(refusal(WEIGHTS),))
    assert stage.told == {("Service", WEIGHTS): 2}


def test_objects_of_other_kinds_have_names_of_their_own(stage: Stage) -> None:
    slice_ = Slice(KEY, "cart", "IPv4", (), (), weight="x")
    pod = Pod("shop", "cart", "u", {}, "x")
    bad = [RefusedAnnotation("EndpointSlice", "shop", "cart", WEIGHT, "bad")]
    finish(stage.warnings.listing("EndpointSlice", [slice_], bad))
    finish(
        stage.warnings.listing(
            "Pod", [pod], [RefusedAnnotation("Pod", "shop", "cart", WEIGHT, "bad")]
        )
    )
    finish(stage.warnings.listing("EndpointSlice", [slice_], []))
    stage.warnings.followed(
        "Pod",
        [ObjectUpdate(("shop", "cart"), pod, pod, 2)],
        [RefusedAnnotation("Pod", "shop", "cart", WEIGHT, "bad")],
    )
    assert stage.told == {("EndpointSlice", WEIGHT): 1, ("Pod", WEIGHT): 1}
