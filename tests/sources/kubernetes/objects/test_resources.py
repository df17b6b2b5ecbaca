import pytest

from lookaside.sources.kubernetes.objects.resources import (
    PODS_RESOURCE,
    SERVICES_RESOURCE,
    SLICES_RESOURCE,
)


@pytest.mark.parametrize(
    ("namespace", "slices", "services"),
    [
        (None, "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/services"),
        (
            "grpc",
            "/apis/discovery.k8s.io/v1/namespaces/grpc/endpointslices",
            "/api/v1/namespaces/grpc/services",
        ),
    ],
)
def test_paths(namespace: str | None, slices: str, services: str) -> None:
    assert SLICES_RESOURCE.path(namespace) == slices
    assert SERVICES_RESOURCE.path(namespace) == services


def test_rules_say_where_they_belong() -> None:
    assert SERVICES_RESOURCE.rbac_rule(None) == (
        'a ClusterRole needs the rule apiGroups: [""], resources: ["services"], '
        'verbs: ["list", "watch"]'
    )
    assert "a Role in namespace 'grpc'" in SLICES_RESOURCE.rbac_rule("grpc")


def test_of_pods_the_metadata_alone_is_asked_for() -> None:
    assert SLICES_RESOURCE.list_accept == SLICES_RESOURCE.watch_accept == "application/json"
    assert PODS_RESOURCE.list_accept == (
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
    )
    assert PODS_RESOURCE.watch_accept == (
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    )
    assert PODS_RESOURCE.path("grpc") == "/api/v1/namespaces/grpc/pods"
