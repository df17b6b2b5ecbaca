"""The examples' manifests are valid, and what they say of each other is so."""

import importlib.util
from pathlib import Path

import pytest
from kubernetes_validate.utils import validate

from lookaside.policy.service_config import SERVICE_CONFIG, parse_service_config
from lookaside.policy.weights import WEIGHTS, parse_rules
from tests.examples.documents import EXAMPLES, MANIFESTS, label, objects, pod_specs

VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
SECONDS_OF_GRACE = 15

each_file = pytest.mark.parametrize("path", MANIFESTS, ids=label)


def test_there_are_manifests_of_each_strategy() -> None:
    folders = {path.parent.name for path in MANIFESTS}
    assert {"greeter", "canary", "sticky"} <= folders
    for number in "1234":
        assert any(folder.startswith(f"strategy_{number}_") for folder in folders)


@each_file
@pytest.mark.parametrize("version", VERSIONS)
def test_a_manifest_is_valid(path: Path, version: str) -> None:
    for each in objects(path):
        validate(each, version, strict=True)


@each_file
def test_everything_is_in_the_namespace_of_the_article(path: Path) -> None:
    for each in objects(path):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "grpc-services"
        else:
            assert each["metadata"]["namespace"] == "grpc-services"


@each_file
def test_pods_meet_the_restricted_pod_security_standard(path: Path) -> None:
    for spec in pod_specs(path).values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


@each_file
def test_a_service_selects_the_pods_of_a_deployment_on_a_port_that_they_listen_on(
    path: Path,
) -> None:
    makers = [each for each in objects(path) if each["kind"] in {"Deployment", "StatefulSet"}]
    for service in (each for each in objects(path) if each["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        chosen = [
            each
            for each in makers
            if selector <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert chosen
        ports = {port["port"] for port in service["spec"]["ports"]}
        for each in chosen:
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert ports <= {port["containerPort"] for port in container["ports"]}


@each_file
def test_what_the_image_is_told_to_run_is_there(path: Path) -> None:
    for spec in pod_specs(path).values():
        (container,) = spec["containers"]
        assert container["image"] == "greeter:1.0.0"
        assert importlib.util.find_spec(container["args"][0]) is not None


@each_file
def test_a_server_has_the_time_to_end_in_order(path: Path) -> None:
    for spec in pod_specs(path).values():
        (container,) = spec["containers"]
        if container["args"][0] == "examples.greeter.server":
            flags = dict(flag.split("=") for flag in container["args"][1:])
            needed = int(flags["--linger"]) + SECONDS_OF_GRACE
            assert spec["terminationGracePeriodSeconds"] > needed


@each_file
def test_the_annotations_are_taken_by_the_service(path: Path) -> None:
    for each in objects(path):
        annotations = each["metadata"].get("annotations", {})
        assert annotations.keys() <= {SERVICE_CONFIG, WEIGHTS}
        if SERVICE_CONFIG in annotations:
            assert parse_service_config(annotations[SERVICE_CONFIG])
        if WEIGHTS in annotations:
            assert [rule.weight for rule in parse_rules(annotations[WEIGHTS])] == [10]


def test_every_yaml_file_is_looked_at() -> None:
    others = {label(path) for path in EXAMPLES.rglob("*.yaml")} - {label(p) for p in MANIFESTS}
    assert others == {
        "endpoints.yaml",
        "kind.yaml",
        "canary/endpoints.yaml",
        "strategy_3_lookaside/values.yaml",
    }
