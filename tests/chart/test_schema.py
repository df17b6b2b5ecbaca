"""The schema takes what the chart has, and refuses all else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator

from lookaside.config import SETTINGS
from lookaside.config import load as load_settings
from tests.chart.values import FEATURES, PRESETS, Values, defaults, errors, load, schema

_DERIVED: Final = {
    "source", "listen", "admin", "namespace", "pods", "pod_selector", "metadata_label",
    "tls_cert", "tls_key", "tls_client_ca", "allow", "token_audience",
}  # fmt: skip
"""Settings that follow from other values."""

_NOT_IN_A_POD: Final = {"kubeconfig", "context"}

_FREE: Final = {
    "commonLabels", "commonAnnotations", "static.services", "auth.allow", "nodeSelector",
    "deploymentAnnotations", "podAnnotations", "podLabels", "serviceAccount.annotations",
    "service.annotations", "service.headless.annotations",
    "serviceMonitor.labels", "podMonitor.labels", "prometheusRule.labels",
    "prometheusRule.alertLabels", "dashboard.labels", "dashboard.annotations",
}  # fmt: skip
"""Mappings whose keys are the user's own."""

_WHOLE: Final = {
    "config", "resources", "podSecurityContext", "securityContext", "affinity", "dnsConfig",
}  # fmt: skip
"""Mappings that are handed on whole, whatever they have."""


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(schema())


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_file_of_values_is_taken(path: Path) -> None:
    assert errors(load(path)) == []


def test_the_defaults_are_taken_and_complete() -> None:
    assert errors({}) == []
    assert _keys(schema()) - {"global"} == set(defaults())


def test_an_unknown_key_is_refused_at_the_top() -> None:
    assert errors({"replicas": 3}) != []


def _mappings(values: Values, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield (*above, key)
            yield from _mappings(value, (*above, key))


@pytest.mark.parametrize(
    "path",
    [path for path in _mappings(defaults()) if ".".join(path) not in _FREE],
    ids=".".join,
)
def test_an_unknown_key_is_refused_in_every_mapping_of_the_defaults(path: Sequence[str]) -> None:
    wrong = _at(path, {"unknownKey": "x"})
    if path[-1] in ("requests", "limits"):
        # Any resource has a name; its amount is checked.
        assert errors(wrong) != []
        return
    assert any("unknownKey" in each for each in errors(wrong))


def test_every_object_of_the_schema_is_closed_or_says_what_its_values_are() -> None:
    assert [
        path for path, node in _objects(schema(), "$") if "additionalProperties" not in node
    ] == [
        # Helm's own, and whole objects of Kubernetes.
        "$.properties.global"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicaCount": "2"},
        {"replicaCount": -1},
        {"image": {"digest": "sha256:12"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"kubernetes": {"namespaces": ["Shop"]}},
        {"dns": {"names": ["[2001:db8::1]:50051"]}},
        {"kubernetes": {"namespaces": ["shop", "shop"]}},
        {"static": {"services": {"greeter": {"endpoint": []}}}},
        {"static": {"services": {"greeter": {"endpoints": [{"address": "192.0.2.1"}]}}}},
        {"static": {"services": {"greeter": {"endpoints": [{"address": "a:1", "weight": -1}]}}}},
        {"config": {"log_level": "loud"}},
        {"config": {"grace": "half a minute"}},
        {"config": {"listen": ":1"}},
        {"auth": {"allow": {"*": []}}},
        {"auth": {"allow": {"*": ["Shop"]}}},
        {"tls": {"certManager": {"issuerRef": {"nmae": "ca"}}}},
        {"probes": {"type": "tcp"}},
        {"probes": {"liveness": {"periodSeconds": 0}}},
        {"ports": {"grpc": 80}},
        {"topologySpread": {"zones": "Always"}},
        {"networkPolicy": {"clients": [{"ipblock": {"cidr": "192.0.2.0/24"}}]}},
        {"tolerations": [{"keys": "x"}]},
        {"affinity": {"nodeAffinity": {"required": {}}}},
        {"extraEnv": [{"name": "A", "vlaue": "1"}]},
        {"extraVolumes": [{"name": "a", "emptydir": {}}]},
        {"extraArgs": "--log-level=debug"},
        {"resources": {"limits": {"memory": "1 GiB"}}},
        {"securityContext": {"readOnlyRootFileSystem": True}},
        {"serviceMonitor": {"interval": "half a minute"}},
        {"prometheusRule": {"extraRules": [{"alert": "A"}]}},
        {"commonAnnotations": {"example.com/a": 1}},
        {"deploymentAnnotations": {"example.com/a": True}},
        {"revisionHistoryLimit": -1},
        {"service": {"nodePort": 65536}},
        {"service": {"externalTrafficPolicy": "local"}},
        {"service": {"loadBalancerClass": "of mine"}},
        {"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}},
        {"dnsPolicy": "ClusterLast"},
        {"dnsConfig": {"nameservers": ["ns.example.com"]}},
        {"dnsConfig": {"options": [{"value": "2"}]}},
        {"hostAliases": [{"ip": "192.0.2.1"}]},
        {"extraContainers": [{"name": "a"}]},
        {"extraContainers": [{"name": "A", "image": "a:1"}]},
        {"extraContainers": [{"name": "a", "image": "a:1", "restartPolicy": "Always"}]},
        {"extraContainers": [{"name": "a", "image": "a:1", "livenessProbe": {"http": {}}}]},
        {"extraInitContainers": [{"name": "a", "image": "a:1", "restartPolicy": "Never"}]},
        {"extraInitContainers": [{"name": "a", "image": "a:1", "ports": [{"hostPort": 80}]}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_value_is_refused(wrong: Values) -> None:
    assert errors(wrong) != []


def test_every_setting_of_the_service_has_its_place() -> None:
    given = _keys(schema()["properties"]["config"])
    assert given == {each.key for each in SETTINGS} - _DERIVED - _NOT_IN_A_POD
    assert {each.key for each in SETTINGS} >= _DERIVED | _NOT_IN_A_POD


def test_the_feature_file_of_settings_has_all_of_them_and_the_service_takes_it() -> None:
    path = next(path for path in FEATURES if path.stem == "settings-values")
    given = load(path)["config"]
    assert set(given) == _keys(schema()["properties"]["config"])
    load_settings({key: str(value).lower() for key, value in given.items()}, {})


def test_what_cannot_be_empty_is_missed_when_it_is_taken_away() -> None:
    # null takes a default away: of these nothing would be left to render.
    lacking = {
        path
        for path in _paths(defaults())
        if not any("required property" in each for each in errors(_at(path, None)))
    }
    sections = {path for path in _mappings(defaults()) if ".".join(path) not in _FREE | _WHOLE}
    whole = {path for path in lacking & sections if path[0] not in _WHOLE}
    assert whole == {("autoscaling", "behavior")}
    numbers = {path for path, value in _leaves(defaults()) if type(value) in (bool, int)}
    assert {path for path in lacking & numbers if path[0] not in _WHOLE} == {
        ("autoscaling", "targetCPUUtilizationPercentage"),
        ("service", "headless", "grpclbPort"),
    }


def _paths(values: Values) -> Iterator[tuple[str, ...]]:
    yield from _mappings(values)
    yield from (path for path, _ in _leaves(values))


def _leaves(values: Values, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _at(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _keys(node: Values) -> set[str]:
    return set(node["properties"])


def _objects(node: Any, path: str) -> Iterator[tuple[str, Values]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from _objects(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _objects(value, f"{path}[{index}]")
