"""What the chart renders is valid in every version of Kubernetes, and bad values are refused."""

import ast
import pathlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import grpc
import pytest
import trustme
import yaml
from kubernetes_validate import utils as schemas

import client_resolver
from lookaside.cli import main
from lookaside.config import Settings
from tests.cluster.api import Object
from tests.cluster.harness import Binaries
from tests.cluster.release import CHART, DEFAULTS, PRESETS, Helm, HelmError, ids, objects

_VERSIONS: Final = [f"1.{minor}" for minor in range(29, 38)]
_OTHERS: Final = ("cert-manager.io", "monitoring.coreos.com")
_EVERYTHING: Final[Object] = {
    "autoscaling": {"enabled": True},
    "dashboard": {"enabled": True},
    "dns": {"names": ["greeter.shop:50051"]},
    "networkPolicy": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "tls": {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "ca"}}},
}
"""Values by which every template renders something."""

_EXTRA: Final = "extra{0}[0].name={1},extra{0}[0].image=a:1"
"""Flags for a container beside the service, by its list and name."""


def _paths(values: Object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


@pytest.fixture
def helm(binaries: Binaries, tmp_path: Path) -> Helm:
    """The real helm, without a cluster."""
    return Helm(binaries.helm, tmp_path / "none", tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "schema_contents", cache(schemas.schema_contents))
        yield


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_what_is_rendered_is_valid_from_1_29_to_1_37(helm: Helm, values: Path) -> None:
    for version in _VERSIONS:
        rendered = helm.template("--values", values, version=f"{version}.0")
        assert {"Deployment", "Service"} <= {each["kind"] for each in rendered}
        for each in rendered:
            if not each["apiVersion"].startswith(_OTHERS):
                assert schemas.validate(each, version, strict=True) == version


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_lint_finds_nothing(helm: Helm, values: Path) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", CHART, "--values", values)


def test_every_object_has_the_common_labels_and_annotations(helm: Helm) -> None:
    values = CHART / "ci" / "extras-values.yaml"
    everything = CHART / "ci" / "monitoring-values.yaml"
    for each in helm.template("--values", everything, "--values", values):
        if not each["metadata"]["name"].endswith(("-extra", "as-text")):
            assert each["metadata"]["labels"]["example.com/team"] == "platform"
            assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "balancer"
            assert each["metadata"]["annotations"]["example.com/contact"] == "#platform"
    pod = _one(helm.template("--values", values), "Deployment")["spec"]["template"]
    assert pod["metadata"]["labels"]["example.com/team"] == "platform"
    assert pod["metadata"]["annotations"]["example.com/contact"] == "#platform"


def test_older_clusters_get_no_pause_before_the_end(helm: Helm) -> None:
    for version, has in (("1.29.0", False), ("1.30.0", True), ("1.37.1", True)):
        deployment = _one(helm.template(version=version), "Deployment")
        assert ("lifecycle" in _container(deployment)) is has


@pytest.mark.parametrize(
    ("flags", "image"),
    [
        ([], "lookaside/lookaside:0.1.0"),
        (["image.tag=main"], "lookaside/lookaside:main"),
        (["image.registry=mirror:5000"], "mirror:5000/lookaside/lookaside:0.1.0"),
        (
            [f"image.digest=sha256:{'a' * 64}", "image.tag=main"],
            f"lookaside/lookaside@sha256:{'a' * 64}",
        ),
    ],
)
def test_the_image_is_named_by_digest_or_tag(helm: Helm, flags: list[str], image: str) -> None:
    rendered = helm.template(*(part for flag in flags for part in ("--set", flag)))
    assert _container(_one(rendered, "Deployment"))["image"] == image
    assert _container(_one(rendered, "Pod"))["image"] == image


def test_labels_of_the_values_do_not_replace_those_that_select(helm: Helm, tmp_path: Path) -> None:
    own = {"app.kubernetes.io/instance": "lookaside", "app.kubernetes.io/component": "balancer"}
    given = {
        "commonLabels": {"app.kubernetes.io/instance": "a", "example.com/a": "1"},
        "podLabels": {"app.kubernetes.io/component": "b", "example.com/a": "2"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "c", "example.com/a": "3"}},
    }
    rendered = helm.template(*_values(tmp_path, given))
    deployment = _one(rendered, "Deployment")
    assert deployment["metadata"]["labels"].items() >= {**own, "example.com/a": "1"}.items()
    pod = deployment["spec"]["template"]["metadata"]["labels"]
    assert pod.items() >= {**own, "example.com/a": "2"}.items()
    monitor = _one(rendered, "ServiceMonitor")["metadata"]["labels"]
    assert monitor.items() >= {**own, "release": "c", "example.com/a": "3"}.items()


def test_annotations_of_an_object_win_over_the_common_ones(helm: Helm, tmp_path: Path) -> None:
    policy = "helm.sh/hook-delete-policy"
    given = {
        "commonAnnotations": {"a": "all", "checksum/config": "all", policy: "hook-failed"},
        "deploymentAnnotations": {"a": "deployment"},
        "podAnnotations": {"a": "pod"},
        "service": {"annotations": {"a": "service"}},
    }
    rendered = helm.template(*_values(tmp_path, given))
    deployment = _one(rendered, "Deployment")
    assert deployment["metadata"]["annotations"]["a"] == "deployment"
    pod = deployment["spec"]["template"]["metadata"]["annotations"]
    assert pod["a"] == "pod"
    assert re.fullmatch("[0-9a-f]{64}", pod["checksum/config"])
    of_test = _one(rendered, "Pod")["metadata"]["annotations"]
    assert (of_test["a"], of_test[policy]) == ("all", "before-hook-creation,hook-succeeded")
    services = [each["metadata"] for each in rendered if each["kind"] == "Service"]
    assert [each["annotations"]["a"] for each in services] == ["service", "all"]


def test_without_annotations_there_is_no_field_of_them(helm: Helm) -> None:
    assert "annotations" not in _one(helm.template(), "Deployment")["metadata"]


def test_ways_in_from_outside_are_those_of_the_normal_service_alone(helm: Helm) -> None:
    rendered = helm.template("--values", CHART / "ci" / "load-balancer-values.yaml")
    normal, headless = (each["spec"] for each in rendered if each["kind"] == "Service")
    assert normal["type"] == "LoadBalancer"
    assert normal["loadBalancerClass"] == "example.com/internal"
    assert normal["loadBalancerSourceRanges"] == ["192.0.2.0/24", "198.51.100.7/32"]
    assert normal["externalTrafficPolicy"] == "Local"
    assert [port["nodePort"] for port in normal["ports"]] == [30052]
    assert headless["type"] == "ClusterIP"
    assert not any("nodePort" in port for port in headless["ports"])
    assert headless.keys() == {"type", "clusterIP", "selector", "ports"}


def test_containers_of_ones_own_come_after_the_service_and_are_restricted(helm: Helm) -> None:
    values = CHART / "ci" / "containers-values.yaml"
    spec = _one(helm.template("--values", values), "Deployment")["spec"]["template"]["spec"]
    service, proxy = spec["containers"]
    assert (service["name"], proxy["name"]) == ("lookaside", "proxy")
    assert [each["name"] for each in spec["initContainers"]] == ["prepare", "forward-logs"]
    for each in spec["initContainers"]:
        assert each["securityContext"] == service["securityContext"]
    given = yaml.safe_load(values.read_text())
    assert proxy == given["extraContainers"][0]
    for key in ("dnsPolicy", "dnsConfig", "hostAliases"):
        assert spec[key] == given[key]


def test_as_many_revisions_are_kept_as_asked_for(helm: Helm) -> None:
    assert _one(helm.template(), "Deployment")["spec"]["revisionHistoryLimit"] == 10
    none = helm.template("--set", "revisionHistoryLimit=0")
    assert _one(none, "Deployment")["spec"]["revisionHistoryLimit"] == 0


def test_names_that_look_like_numbers_stay_names(helm: Helm) -> None:
    flags = ["--namespace", "2026", "--set-json", 'kubernetes.namespaces=["2025"]']
    for each in objects(helm.run("template", "1", CHART, *flags)):
        assert each["metadata"].get("namespace") in ("2025", "2026")
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "1"
        assert schemas.validate(each, _VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ([], 45),
        (["config.grace=20"], 35),
        (["config.grace=1500ms"], 17),
        (["config.grace=1.5m", "preStopSeconds=0"], 100),
        (["config.grace=1h", "preStopSeconds=60"], 3670),
        (["config.grace=1h", "terminationGracePeriodSeconds=7"], 7),
    ],
)
def test_a_pod_has_the_time_that_the_service_takes_to_end(
    helm: Helm, flags: list[str], seconds: int
) -> None:
    rendered = helm.template(*(part for flag in flags for part in ("--set", flag)))
    spec = _one(rendered, "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == seconds


def test_by_itself_a_pod_outlives_the_grace_of_the_service(helm: Helm) -> None:
    spec = _one(helm.template(), "Deployment")["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > pause + Settings().grace


def test_replicas_are_left_to_the_autoscaler(helm: Helm) -> None:
    rendered = helm.template("--set", "autoscaling.enabled=true")
    assert "replicas" not in _one(rendered, "Deployment")["spec"]
    assert _one(rendered, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert _one(helm.template(), "Deployment")["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("flags", "reached"),
    [
        ([], {("TCP", 443), ("TCP", 6443)}),
        (["dns.names={a:1}"], {("TCP", 443), ("TCP", 6443), ("UDP", 53), ("TCP", 53)}),
        (["dns.names={a:1}", "kubernetes.enabled=false"], {("UDP", 53), ("TCP", 53)}),
        (["static.existingConfigMap=a", "kubernetes.enabled=false"], set()),
    ],
)
def test_a_network_policy_lets_the_pods_reach_what_they_need_and_no_more(
    helm: Helm, flags: list[str], reached: set[tuple[str, int]]
) -> None:
    flags = ["networkPolicy.enabled=true", "ports.grpc=8443", "ports.admin=8080", *flags]
    policy = _one(
        helm.template(*(part for flag in flags for part in ("--set", flag))), "NetworkPolicy"
    )["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == {8443, 8080}
    assert {
        (port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]
    } == reached


def test_a_network_policy_for_some_clients_lets_the_test_in(helm: Helm) -> None:
    rendered = helm.template("--values", CHART / "ci" / "network-policy-values.yaml")
    (grpc_rule, _) = _one(rendered, "NetworkPolicy")["spec"]["ingress"]
    labels = _one(rendered, "Pod")["metadata"]["labels"].items()
    selectors = [peer["podSelector"] for peer in grpc_rule["from"] if "podSelector" in peer]
    assert [each["matchLabels"].items() <= labels for each in selectors] == [True]


@pytest.mark.parametrize("path", list(_paths(yaml.safe_load(DEFAULTS.read_text()))), ids=".".join)
def test_a_value_that_is_taken_away_is_missed_by_name_or_not_needed(
    helm: Helm, path: tuple[str, ...], tmp_path: Path
) -> None:
    null: Object | None = None
    for key in reversed(path):
        null = {key: null}
    said = ""
    try:
        helm.template(*_values(tmp_path, _EVERYTHING, null))
    except HelmError as error:
        said = str(error)
    named = rf"missing propert.*'{path[-1]}'|execution error .*{path[-1]}"
    assert not said or re.search(named, said), said


def test_changed_settings_roll_the_pods_and_changed_services_do_not(helm: Helm) -> None:
    first, same, other = (
        _one(helm.template("--values", CHART / "ci" / "static-values.yaml", *more), "Deployment")
        for more in ([], ["--set-json", "static.services.more={\"endpoints\": []}"],
                     ["--set", "config.debounce=1s"])
    )  # fmt: skip
    assert first["spec"]["template"] == same["spec"]["template"]
    assert first["spec"]["template"] != other["spec"]["template"]


def test_kubernetes_before_1_29_is_refused(helm: Helm) -> None:
    assert "1.29" in helm.refusal("--kube-version", "1.28.9")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("replicas=2", "'replicas' not allowed"),
        ("kubernetes.namespace=shop", "'namespace' not allowed"),
        ("kubernetes.enabled=false", "there is nothing to serve"),
        ("static.services.a.endpoints=null,static.existingConfigMap=b", "static"),
        ("kubernetes.podSelector=a", "need kubernetes.pods"),
        ("tls.enabled=true", "tls.enabled needs tls.secretName or tls.certManager.enabled"),
        ("tls.secretName=a", "need tls.enabled"),
        ("tls.enabled=true,tls.certManager.enabled=true", "needs tls.certManager.issuerRef.name"),
        ("tls.enabled=true,tls.secretName=a,probes.type=grpc", "don't speak TLS; use http"),
        ("auth.tokenAudience=lookaside", "auth.tokenAudience needs auth.allow"),
        ("auth.allow.*={shop}", "callers could not identify themselves"),
        ("ports.admin=50052", "ports.grpc and ports.admin must be two"),
        ("auth.allow.dns:a={b},auth.tokenAudience=c", "dns:a is about certificates and needs"),
        (
            (
                "auth.allow.serviceaccount:*/*={c},tls.enabled=true,tls.secretName=d,"
                "tls.clients.verify=true"
            ),
            "is about tokens and needs auth.tokenAudience",
        ),
        ("autoscaling.enabled=true,autoscaling.minReplicas=9", "minReplicas is above"),
        ("autoscaling.enabled=true,autoscaling.targetCPUUtilizationPercentage=null", "needs tar"),
        ("autoscaling.enabled=true,resources.requests=null", "a share of resources.requests.cpu"),
        ("serviceMonitor.enabled=true,podMonitor.enabled=true", "would count everything twice"),
        (r"commonAnnotations.helm\.sh/hook=test", "would make a hook of every object"),
        ("service.nodePort=30052", "need service.type NodePort or LoadBalancer"),
        ("service.externalTrafficPolicy=Local", "need service.type NodePort or LoadBalancer"),
        ("service.loadBalancerClass=a", "need service.type LoadBalancer"),
        (
            "service.type=NodePort,service.loadBalancerSourceRanges={192.0.2.0/24}",
            "need service.type LoadBalancer",
        ),
        ("dnsPolicy=None", "dnsPolicy None needs dnsConfig.nameservers"),
        (_EXTRA.format("Containers", "lookaside"), "there is a container lookaside already"),
        (
            f"{_EXTRA.format('Containers', 'a')},{_EXTRA.format('InitContainers', 'a')}",
            "there is a container a already",
        ),
        (
            f"{_EXTRA.format('Containers', 'a')},autoscaling.enabled=true",
            "the extra container a needs resources.requests.cpu",
        ),
        (
            (
                f"{_EXTRA.format('InitContainers', 'a')},autoscaling.enabled=true,"
                "extraInitContainers[0].restartPolicy=Always"
            ),
            "the extra container a needs resources.requests.cpu",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(helm: Helm, flags: str, said: str) -> None:
    assert said in helm.refusal("--set", flags)


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_the_notes_have_a_line_for_grpcurl_and_one_for_a_client(helm: Helm, values: Path) -> None:
    notes = _notes(helm, values)
    assert re.search(r"grpcurl -(plaintext|insecure) .*lookaside\.LoadBalancer/GetServers", notes)
    assert re.search(r'_channel\("lookaside://[a-z-]+\.lb:\d+/SERVICE\.NAMESPACE"', notes)
    assert "lookaside explain" in notes


@pytest.mark.parametrize(
    ("preset", "keywords"),
    [
        ("settings", set()),
        ("tls-secret", {"balancer_credentials"}),
        ("tls-mutual", {"balancer_credentials"}),
        ("tokens", {"balancer_token", "insecure_balancer_token"}),
    ],
)
def test_the_client_of_the_notes_shows_the_balancer_what_it_asks_for(
    helm: Helm, preset: str, keywords: set[str]
) -> None:
    notes = _notes(helm, CHART / "ci" / f"{preset}-values.yaml")
    (line,) = re.findall(r"^  channel = (.*)$", notes, re.MULTILINE)
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert {each.arg for each in call.keywords} == keywords
    authority = trustme.CA()
    issued = authority.issue_cert("shop.example.com")
    names = {
        "client_resolver": client_resolver,
        "grpc": grpc,
        "pathlib": pathlib,
        "ca": authority.cert_pem.bytes(),
        "key": issued.private_key_pem.bytes(),
        "certificate": issued.cert_chain_pems[0].bytes(),
    }
    with eval(line.replace("SERVICE.NAMESPACE", "greeter.shop"), names) as channel:
        assert isinstance(channel, grpc.Channel)


@pytest.mark.parametrize("preset", ["settings", "tls-secret", "tls-mutual", "tokens"])
def test_the_commands_of_the_notes_are_taken(helm: Helm, preset: str) -> None:
    notes = _notes(helm, CHART / "ci" / f"{preset}-values.yaml")
    (line,) = re.findall(r"^  lookaside (explain .*)$", notes, re.MULTILINE)
    flags = [flag for flag in shlex.split(line.partition(" <(")[0]) if flag.startswith("--")]
    known = {name for each in main.commands["explain"].params for name in each.opts}
    assert set(flags) <= known
    assert ("--insecure" in flags) is preset.startswith("tls")
    assert ("--cert" in flags) is (preset == "tls-mutual")
    assert ("--token-file" in flags) is ("--insecure-token" in flags) is (preset == "tokens")


def _notes(helm: Helm, values: Path) -> str:
    return helm.run(
        "install", "lookaside", CHART, "--values", values, "--dry-run=client", "--namespace", "lb"
    ).partition("NOTES:")[2]


def _values(folder: Path, *given: Object | None) -> Iterator[str | Path]:
    """Give the flags for some values, the last of which win."""
    for number, values in enumerate(given):
        file = folder / f"{number}.yaml"
        file.write_text(yaml.safe_dump(values))
        yield from ("--values", file)


@pytest.mark.parametrize("type_", ["grpc", "http"])
def test_probes_of_both_types_ask_for_the_same(helm: Helm, type_: str) -> None:
    container = _container(_one(helm.template(f"--set=probes.type={type_}"), "Deployment"))
    asked = {
        probe: container[f"{probe}Probe"].get("httpGet", {}).get("path", "grpc")
        for probe in ("startup", "readiness", "liveness")
    }
    # By gRPC a replica that has not synced, or shuts down, is NOT_SERVING: so is /readyz then. Once
    # it has started, NOT_SERVING is a shutdown alone, during which kubelets ask for no liveness.
    if type_ == "grpc":
        assert set(asked.values()) == {"grpc"}
    else:
        assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    default = _container(_one(helm.template(), "Deployment"))
    for probe in asked:
        mine, theirs = ({**each[f"{probe}Probe"]} for each in (container, default))
        for way in ("httpGet", "grpc"):
            mine.pop(way, None), theirs.pop(way, None)
        assert mine == theirs


def _one(rendered: list[Object], kind: str) -> Object:
    (found,) = [each for each in rendered if each["kind"] == kind]
    return found


def _container(item: Object) -> Object:
    spec = item["spec"]
    container: Object = (spec["template"]["spec"] if "template" in spec else spec)["containers"][0]
    return container
