"""The chart by the real helm on the real API server, and its Pods run as they are rendered.

The controllers make Pods of the Deployment, in a namespace that enforces the restricted Pod
Security Standard; `node.Node` runs them, with the arguments, files and account that they have.
"""

import json
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import pytest
import trustme
import yaml

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from tests.cluster.api import ApiClient, ApiError, Object
from tests.cluster.clusterip import ClusterIp
from tests.cluster.definitions import DEFINITIONS
from tests.cluster.figures import record
from tests.cluster.harness import ControlPlane
from tests.cluster.node import Node
from tests.cluster.objects import Namespace
from tests.cluster.release import CHART, PRESETS, HelmError, Release, ids

_ACCESS: Final = "/apis/authorization.k8s.io/v1"
_PLURALS: Final = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Certificate": "certificates",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PodMonitor": "podmonitors",
    "PrometheusRule": "prometheusrules",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServiceMonitor": "servicemonitors",
}
_LEAST: Final = {("", "services"), ("discovery.k8s.io", "endpointslices")}


@pytest.fixture(scope="module", autouse=True)
def custom_resources(control_plane: ControlPlane) -> None:
    """The kinds of the Prometheus operator and of cert-manager, as they are published."""
    api = control_plane.admin
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    files = sorted(Path(os.environ[DEFINITIONS]).iterdir())
    for file in files:
        api.create(path, yaml.safe_load(file.read_text()))
    api.wait(path, lambda found: sum(map(_is_served, found)) == len(files))


@pytest.fixture
def authority() -> trustme.CA:
    """Whom clients and servers trust."""
    return trustme.CA()


@pytest.fixture
def secrets(control_plane: ControlPlane, restricted: Namespace, authority: trustme.CA) -> None:
    """The Secrets that the files of values name, as a user would make them."""
    host = f"lookaside.{restricted.name}.svc"
    server = authority.issue_cert(host, "lookaside")
    client = authority.issue_cert("shop.example.com")
    trusted = {"ca.crt": authority.cert_pem.bytes()}
    contents = {
        "lookaside-server": {**_pair(server), **trusted},
        "lookaside-tls": {**_pair(server), **trusted},
        "lookaside-clients": trusted,
        "shop-client": _pair(client),
    }
    for name, data in contents.items():
        body = {key: b64encode(content).decode() for key, content in data.items()}
        control_plane.admin.create(
            f"/api/v1/namespaces/{restricted.name}/secrets",
            {"metadata": {"name": name}, "data": body},
        )


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_it_installs_its_pods_serve_and_its_test_passes(
    values: Path,
    release: Release,
    control_plane: ControlPlane,
    restricted: Namespace,
    secrets: None,
    tmp_path: Path,
) -> None:
    api = control_plane.admin
    began = time.monotonic()
    release.install("--values", values)
    # The server's admission takes each object, and knows each of its fields.
    for each in release.objects():
        path = _path(each, restricted.name)
        assert api.patch(f"{path}?dryRun=All&fieldValidation=Strict", each)["kind"] == each["kind"]
    for each in [_pod_of(release.deployment()), *release.hooks()]:
        collection = _path(each, restricted.name).rpartition("/")[0]
        tried = {**each, "metadata": {**each["metadata"], "name": "tried"}}
        api.create(f"{collection}?dryRun=All&fieldValidation=Strict", tried)

    name = release.deployment()["metadata"]["name"]
    hosts = {}
    with ExitStack() as stack:
        proxy = stack.enter_context(ClusterIp(control_plane, restricted.name, name))
        hosts[f"{name}.{restricted.name}.svc"] = proxy.host
        stack.enter_context(Node(restricted, tmp_path, hosts))
        replicas = release.wait_available()
        record(
            f"chart, {values.stem}: {replicas} Pods serve after {time.monotonic() - began:.1f} s"
        )
        tested = release.test()
        assert ("Phase:          Succeeded" in tested) is bool(release.hooks())


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_its_account_may_do_what_the_values_ask_for_and_no_more(
    values: Path, release: Release, control_plane: ControlPlane, restricted: Namespace
) -> None:
    nobody = _rules(restricted.service_account("nobody").client, restricted.name)
    release.install("--values", values)
    given = release.deployment()["spec"]["template"]["spec"]
    account = restricted.account(given["serviceAccountName"]).client
    for where in ("default", restricted.name):
        rights = _rules(account, where) - nobody
        assert rights == set(_wanted(values, where)), where
    own = f"/api/v1/namespaces/{restricted.name}"
    beyond = [
        partial(account.get, f"{own}/secrets"),
        partial(account.get, "/api/v1/namespaces/kube-system/secrets"),
        partial(account.get, "/api/v1/nodes"),
        partial(account.create, f"{own}/configmaps", {"metadata": {"name": "a"}}),
        partial(account.delete, f"{own}/services/lookaside"),
        partial(account.patch, "/api/v1/namespaces/default/services/kubernetes", {}),
    ]
    if ("list", "", "pods") not in _wanted(values, "default"):
        beyond.append(partial(account.get, "/api/v1/namespaces/default/pods"))
    for refused in beyond:
        with pytest.raises(ApiError) as refusal:
            refused()
        assert refusal.value.status == 403, refused


def test_pods_that_are_not_restricted_are_refused_there(
    release: Release, control_plane: ControlPlane, restricted: Namespace
) -> None:
    release.install()
    pod = _pod_of(release.deployment())
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ApiError, match="violates PodSecurity") as refusal:
        control_plane.admin.create(f"/api/v1/namespaces/{restricted.name}/pods?dryRun=All", pod)
    assert refusal.value.status == 403


def test_a_container_of_ones_own_is_refused_there_only_where_its_own_context_is_too_wide(
    release: Release, control_plane: ControlPlane, restricted: Namespace
) -> None:
    narrow = {"name": "narrow", "image": "narrow:1"}
    wide = {"name": "wide", "image": "wide:1", "securityContext": {"runAsNonRoot": True}}
    release.install("--set-json", f"extraContainers={json.dumps([narrow, wide])}")
    pod = _pod_of(release.deployment())
    pods = f"/api/v1/namespaces/{restricted.name}/pods?dryRun=All"
    with pytest.raises(ApiError, match=r'violates PodSecurity.*"wide"') as refusal:
        control_plane.admin.create(pods, pod)
    assert refusal.value.status == 403
    assert '"narrow"' not in str(refusal.value)
    pod["spec"]["containers"].pop()
    assert control_plane.admin.create(pods, pod)["kind"] == "Pod"


def test_a_field_that_a_published_definition_lacks_is_refused(
    release: Release, control_plane: ControlPlane, restricted: Namespace
) -> None:
    release.install("--values", CHART / "ci" / "monitoring-values.yaml")
    (monitor,) = release.of_kind("ServiceMonitor")
    monitor["spec"]["endpoints"][0]["pth"] = "/metrics"
    path = _path(monitor, restricted.name)
    with pytest.raises(ApiError, match="unknown field"):
        control_plane.admin.patch(f"{path}?dryRun=All&fieldValidation=Strict", monitor)


def test_the_test_fails_where_the_service_does_not_serve(
    release: Release, control_plane: ControlPlane, restricted: Namespace, tmp_path: Path
) -> None:
    release.install("--set", "test.service=nobody.nowhere")
    with (
        ClusterIp(control_plane, restricted.name, "lookaside") as proxy,
        Node(restricted, tmp_path, {f"lookaside.{restricted.name}.svc": proxy.host}) as node,
    ):
        release.wait_available()
        with pytest.raises(HelmError, match="Failed"):
            release.test()
        assert "nobody.nowhere" in node.sandboxes["lookaside-test"].tail()


def test_a_client_of_mutual_tls_gets_the_lists_that_its_certificate_allows(
    release: Release,
    control_plane: ControlPlane,
    restricted: Namespace,
    authority: trustme.CA,
    secrets: None,
    tmp_path: Path,
) -> None:
    release.install("--values", CHART / "ci" / "tls-mutual-values.yaml")
    shop, stranger = (authority.issue_cert(f"{name}.example.com") for name in ("shop", "other"))
    with (
        ClusterIp(control_plane, restricted.name, "lookaside") as proxy,
        Node(restricted, tmp_path),
    ):
        release.wait_available()
        for certificate, code in ((shop, None), (stranger, grpc.StatusCode.PERMISSION_DENIED)):
            assert _code(proxy.address, authority, certificate, "kubernetes.default") is code


def _code(
    target: str, authority: trustme.CA, certificate: trustme.LeafCert, service: str
) -> grpc.StatusCode | None:
    """Ask for a list; gives the status code of the refusal, or None."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        certificate.private_key_pem.bytes(),
        certificate.cert_chain_pems[0].bytes(),
    )
    options = [("grpc.ssl_target_name_override", "lookaside")]
    with grpc.secure_channel(target, credentials, options) as channel:
        try:
            LoadBalancerStub(channel).GetServers(
                pb.GetServersRequest(service_name=service), timeout=10
            )
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return None


def _pod_of(deployment: Object) -> Object:
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "tried"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _pair(certificate: trustme.LeafCert) -> dict[str, bytes]:
    return {
        "tls.crt": b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
        "tls.key": certificate.private_key_pem.bytes(),
    }


def _path(item: Object, namespace: str) -> str:
    version, kind = item["apiVersion"], item["kind"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    if not kind.startswith("Cluster"):
        root += f"/namespaces/{item['metadata'].get('namespace', namespace)}"
    return f"{root}/{_PLURALS[kind]}/{item['metadata']['name']}"


def _is_served(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _rules(client: ApiClient, namespace: str) -> set[tuple[str, str, str]]:
    """Give all that an account may do in a namespace, as (verb, group, resource)."""
    asked = {"spec": {"namespace": namespace}}
    answer = client.create(f"{_ACCESS}/selfsubjectrulesreviews", asked)["status"]
    assert not answer["incomplete"]
    rights = {
        (verb, group, resource)
        for rule in answer["resourceRules"]
        for verb in rule["verbs"]
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
    }
    paths = {
        (verb, "", path)
        for rule in answer["nonResourceRules"]
        for verb in rule["verbs"]
        for path in rule["nonResourceURLs"]
    }
    return rights | paths


def _wanted(values: Path, where: str) -> Iterator[tuple[str, str, str]]:
    """Give what an account needs in a namespace by a file of values."""
    given = yaml.safe_load(values.read_text())
    kubernetes = given.get("kubernetes", {})
    if given.get("auth", {}).get("tokenAudience"):
        yield "create", "authentication.k8s.io", "tokenreviews"
    served = kubernetes.get("namespaces") or [where]
    if kubernetes.get("enabled", True) and where in served:
        watched = _LEAST | ({("", "pods")} if kubernetes.get("pods") else set())
        for group, resource in watched:
            yield "list", group, resource
            yield "watch", group, resource
