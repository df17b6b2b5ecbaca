import json
from typing import Any

import pytest

from lookaside.registry.slices import Pod
from lookaside.sources.kubernetes.api.decode import Change, Item
from lookaside.sources.kubernetes.objects.pods import PODS

META = {
    "name": "greeter-0",
    "namespace": "grpc",
    "uid": "u-1",
    "resourceVersion": "42",
    "labels": {"app": "greeter", "version": "v2"},
    "annotations": {
        "lookaside.dev/weight": "50",
        "kubectl.kubernetes.io/last-applied-configuration": "{" * 1000,
    },
    "managedFields": [{"manager": "kubelet"}],
    "ownerReferences": [{"kind": "ReplicaSet"}],
}
POD = Pod("grpc", "greeter-0", "u-1", {"app": "greeter", "version": "v2"}, "50")


def read(**fields: Any) -> Item[Pod]:
    body = {
        "kind": "PartialObjectMetadataList",
        "metadata": {"resourceVersion": "1"},
        "items": [{"kind": "PartialObjectMetadata", "metadata": {**META, **fields}}],
    }
    [item] = PODS.page(json.dumps(body).encode()).items
    return item


def test_of_a_pod_nothing_is_kept_but_what_matters() -> None:
    assert read() == Item(("grpc", "greeter-0"), POD, "42")


def test_a_whole_pod_is_read_as_its_metadata_is() -> None:
    line = json.dumps({"type": "ADDED", "object": {"metadata": META, "spec": {}, "status": {}}})
    assert PODS.event(line.encode()) == Change(read())


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_pod_needs_no_labels_and_no_annotations(nothing: Any) -> None:
    pod = read(labels=nothing, annotations=nothing).value
    assert pod == Pod("grpc", "greeter-0", "u-1", {})


def test_pods_share_their_labels() -> None:
    one, other = read().value, read(name="greeter-1").value
    assert one is not None
    assert other is not None
    assert one.labels is other.labels


@pytest.mark.parametrize(
    ("fields", "pod"),
    [
        ({"labels": 5}, Pod("grpc", "greeter-0", "u-1", {}, "50")),
        ({"labels": {"app": 5}}, Pod("grpc", "greeter-0", "u-1", {}, "50")),
        ({"annotations": 5}, Pod("grpc", "greeter-0", "u-1", POD.labels)),
        (
            {"annotations": {"lookaside.dev/weight": 5}},
            Pod("grpc", "greeter-0", "u-1", POD.labels),
        ),
    ],
)
def test_malformed_labels_and_annotations_are_set_aside_alone(
    fields: dict[str, Any], pod: Pod
) -> None:
    assert read(**fields) == Item(("grpc", "greeter-0"), pod, "42", flaws=1)


def test_a_malformed_pod_is_set_aside() -> None:
    assert read(uid=5) == Item(("grpc", "greeter-0"), None, "42", malformed=True)
