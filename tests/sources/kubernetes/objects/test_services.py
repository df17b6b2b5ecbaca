import json
from typing import Any

import pytest

from lookaside.model import ServiceKey, ServicePort
from lookaside.registry.slices import Service
from lookaside.sources.kubernetes.api.decode import Item
from lookaside.sources.kubernetes.objects.services import SERVICES

KEY = ServiceKey("grpc", "greeter")
META = {"name": "greeter", "namespace": "grpc", "resourceVersion": "42", "managedFields": [{}]}


def read(spec: Any) -> Item[Service]:
    body = {
        "metadata": {"resourceVersion": "1"},
        "items": [{"metadata": META, "spec": spec, "status": {"loadBalancer": {}}}],
    }
    [item] = SERVICES.page(json.dumps(body).encode()).items
    return item


@pytest.mark.parametrize(
    ("spec", "service", "flaws"),
    [
        (
            {"type": "ClusterIP", "ports": [{"name": "grpc", "port": 80, "targetPort": "grpc"}]},
            Service(KEY, (ServicePort("grpc", 80),)),
            0,
        ),
        ({"ports": [{"port": 80}]}, Service(KEY, (ServicePort("", 80),)), 0),
        ({"ports": [{"port": 80, "name": None}]}, Service(KEY, (ServicePort("", 80),)), 0),
        ({"clusterIP": "None", "ports": None}, Service(KEY), 0),
        ({"type": "ExternalName", "ports": [{"port": 80}]}, Service(KEY), 0),
        ({}, Service(KEY), 0),
        (
            {"ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 53}]},
            Service(KEY, (ServicePort("", 53),)),
            0,
        ),
        ({"ports": [{"port": 7, "protocol": "SCTP"}]}, Service(KEY), 0),
        (
            {"type": "ExternalName", "externalName": "db.example.com"},
            Service(KEY, (), "db.example.com"),
            0,
        ),
        ({"type": "ClusterIP", "externalName": "left.over"}, Service(KEY), 0),
        ({"ports": [{"port": 80}, {"port": 0}]}, Service(KEY, (ServicePort("", 80),)), 1),
        ({"ports": [{"port": "x"}, {"port": 80}]}, Service(KEY, (ServicePort("", 80),)), 1),
        ({"ports": [{}, {"port": 80}, 5]}, Service(KEY, (ServicePort("", 80),)), 2),
    ],
)
def test_services(spec: Any, service: Service, flaws: int) -> None:
    assert read(spec) == Item(("grpc", "greeter"), service, "42", flaws)


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ({"ipFamilies": ["IPv4"]}, ("IPv4",)),
        ({"ipFamilies": ["IPv6", "IPv4"], "clusterIP": "10.96.0.1"}, ("IPv4", "IPv6")),
        ({"ipFamilies": ["IPv6"], "clusterIP": "10.96.0.1"}, ("IPv6",)),
        ({"ipFamilies": [], "clusterIP": "10.96.0.1"}, ("IPv4",)),
        ({"ipFamilies": None, "clusterIP": "fd00::1"}, ("IPv6",)),
        ({"clusterIP": "None"}, ()),
        ({"clusterIP": ""}, ()),
        ({}, ()),
    ],
)
@pytest.mark.parametrize("ports", [[], [{"port": "salvaged"}]])
def test_the_families_of_a_service_are_those_that_it_says_or_that_of_its_address(
    spec: dict[str, Any], families: tuple[str, ...], ports: Any
) -> None:
    value = read({**spec, "ports": ports}).value
    assert value is not None
    assert value.families == families


@pytest.mark.parametrize("ports", [[], [{"port": "salvaged"}]])
def test_traffic_policy_and_affinity_are_read(ports: Any) -> None:
    policies = {"internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "ports": ports}
    told, other = read(policies).value, read({"internalTrafficPolicy": "Cluster"}).value
    assert told is not None
    assert other is not None
    assert (told.local, told.sticky) == (True, True)
    assert (other.local, other.sticky) == (False, False)


@pytest.mark.parametrize("spec", [None, [], {"ports": "80"}, {"type": 5}])
def test_a_malformed_service_is_set_aside(spec: Any) -> None:
    assert read(spec) == Item(("grpc", "greeter"), None, "42", malformed=True)


def read_annotated(annotations: Any) -> Item[Service]:
    service = {"metadata": {**META, "annotations": annotations}, "spec": {}}
    body = {"metadata": {"resourceVersion": "1"}, "items": [service]}
    [item] = SERVICES.page(json.dumps(body).encode()).items
    return item


@pytest.mark.parametrize(
    ("annotations", "weights", "config", "flaws"),
    [
        (None, "", "", 0),
        ({"other": "annotation"}, "", "", 0),
        ({"lookaside.dev/weights": "- {weight: 1}"}, "- {weight: 1}", "", 0),
        ({"lookaside.dev/service-config": "{}"}, "", "{}", 0),
        ({"lookaside.dev/weights": None, "lookaside.dev/service-config": "{}"}, "", "{}", 0),
        ({"lookaside.dev/weights": 5, "lookaside.dev/service-config": "{}"}, "", "{}", 1),
        (["x"], "", "", 1),
    ],
)
def test_annotations(annotations: Any, weights: str, config: str, flaws: int) -> None:
    service = Service(KEY, weights=weights, service_config=config)
    assert read_annotated(annotations) == Item(("grpc", "greeter"), service, "42", flaws)
