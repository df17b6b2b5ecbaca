import pytest

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.cluster import Cluster
from lookaside.registry.slices import Pod, Service, Slice, SliceEndpoint, SlicePort
from lookaside.registry.steps import finish
from lookaside.sources.kubernetes.annotation_warnings import AnnotationWarnings
from lookaside.sources.kubernetes.index import Index
from lookaside.sources.kubernetes.resource_store import ObjectUpdate
from tests.faults.recording import RecordingObserver

A, B = ServiceKey("shop", "a"), ServiceKey("shop", "b")


def service(key: ServiceKey, weights: str = "") -> Service:
    return Service(key, (ServicePort("", 80),), weights=weights)


def a_slice(key: ServiceKey, name: str = "one", weight: str = "") -> Slice:
    endpoint = SliceEndpoint("10.0.0.1", target_kind="Pod", target_name="pod", target_uid="u")
    return Slice(key, name, "IPv4", (SlicePort("", 1),), (endpoint,), weight=weight)


def pod(weight: str = "") -> Pod:
    return Pod("shop", "pod", "u", {}, weight)


def versions(touched: dict[ServiceKey, int]) -> dict[str, int]:
    return {key.name: version for key, version in touched.items()}


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def index(observer: RecordingObserver) -> Index:
    index = Index(Cluster(pods=True), AnnotationWarnings(observer))
    finish(index.replacing_services([service(A), service(B)], 10))
    finish(index.replacing_slices([a_slice(A)], 11))
    finish(index.replacing_pods([pod()], 12))
    assert set(index.services()) == set(index.take()) == {A, B}
    return index


def test_what_has_been_taken_is_touched_no_longer(index: Index) -> None:
    assert index.take() == {}


def test_each_service_has_the_version_of_the_last_event_that_touched_it(index: Index) -> None:
    index.change_slices(
        [
            ObjectUpdate(("shop", "one"), a_slice(A), a_slice(A, weight="5"), 20),
            ObjectUpdate(("shop", "two"), None, a_slice(B, "two"), 23),
            ObjectUpdate(("shop", "one"), a_slice(A, weight="5"), a_slice(A, weight="6"), 21),
        ]
    )
    assert versions(index.take()) == {"a": 21, "b": 23}


def test_a_slice_that_changes_hands_touches_both_services(index: Index) -> None:
    index.change_slices([ObjectUpdate(("shop", "one"), a_slice(A), a_slice(B), 20)])
    assert versions(index.take()) == {"a": 20, "b": 20}


def test_a_service_that_loses_a_slice_is_touched(index: Index) -> None:
    index.change_slices([ObjectUpdate[Slice](("shop", "one"), a_slice(A), None, 20)])
    assert versions(index.take()) == {"a": 20}


def test_services_come_and_go(index: Index) -> None:
    index.change_services(
        [
            ObjectUpdate[Service](("shop", "a"), service(A), None, 20),
            ObjectUpdate(("shop", "b"), service(B), service(B, "- {weight: 1}"), 21),
        ]
    )
    assert versions(index.take()) == {"a": 20, "b": 21}
    assert finish(index.recording(A)) is None


def test_a_pod_touches_the_services_that_it_stands_in(index: Index) -> None:
    index.change_pods([ObjectUpdate(("shop", "pod"), pod(), pod("7"), 20)])
    assert versions(index.take()) == {"a": 20}
    record = finish(index.recording(A))
    assert record is not None
    assert [endpoint.weight for endpoint in record.endpoints[""]] == [7]
    index.change_pods([ObjectUpdate[Pod](("shop", "pod"), pod("7"), None, 21)])
    assert versions(index.take()) == {"a": 21}


def test_what_a_list_changes_has_the_version_of_the_list(index: Index) -> None:
    finish(index.replacing_slices([a_slice(A, weight="5")], 30))
    assert versions(index.take()) == {"a": 30}
    finish(index.replacing_pods([pod("7")], 31))
    assert versions(index.take()) == {"a": 31}
    finish(index.replacing_services([service(A)], 32))
    assert versions(index.take()) == {"b": 32}


def test_refused_annotations_of_every_kind_are_told(
    index: Index, observer: RecordingObserver
) -> None:
    index.change_slices([ObjectUpdate(("shop", "one"), None, a_slice(A, weight="x"), 20)])
    index.change_services([ObjectUpdate(("shop", "b"), None, service(B, "x"), 21)])
    index.change_pods([ObjectUpdate(("shop", "pod"), None, pod("x"), 22)])
    finish(index.replacing_slices([a_slice(A, weight="y")], 23))
    finish(index.replacing_services([service(B, "x")], 24))
    finish(index.replacing_pods([pod("z")], 25))
    assert observer.refusals == {
        ("EndpointSlice", "lookaside.dev/weight"): 2,
        ("Service", "lookaside.dev/weights"): 1,
        ("Pod", "lookaside.dev/weight"): 2,
    }
