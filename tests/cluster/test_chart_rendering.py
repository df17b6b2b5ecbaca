"""What the chart renders is valid in every version of Kubernetes, and bad values are refused."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from kubernetes_validate import utils as schemas

from tests.cluster.api import Object
from tests.cluster.harness import Binaries
from tests.cluster.release import CHART, PRESETS, Helm, ids

_VERSIONS: Final = [f"1.{minor}" for minor in range(29, 38)]
_OTHERS: Final = ("cert-manager.io", "monitoring.coreos.com")


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


def test_every_object_has_the_common_labels(helm: Helm) -> None:
    values = CHART / "ci" / "extras-values.yaml"
    everything = CHART / "ci" / "monitoring-values.yaml"
    for each in helm.template("--values", everything, "--values", values):
        if not each["metadata"]["name"].endswith(("-extra", "as-text")):
            assert each["metadata"]["labels"]["example.com/team"] == "platform"
            assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "balancer"
    pod = _one(helm.template("--values", values), "Deployment")["spec"]["template"]
    assert pod["metadata"]["labels"]["example.com/team"] == "platform"


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
        ("auth.allow.*={shop}", "callers could not show who they are"),
        ("ports.admin=50052", "ports.grpc and ports.admin must be two"),
    ],
)
def test_values_that_do_not_go_together_are_refused(helm: Helm, flags: str, said: str) -> None:
    assert said in helm.refusal("--set", flags)


@pytest.mark.parametrize("values", PRESETS, ids=ids(PRESETS))
def test_the_notes_have_a_line_for_grpcurl_and_one_for_a_client(helm: Helm, values: Path) -> None:
    notes = helm.run(
        "install", "lookaside", CHART, "--values", values, "--dry-run=client", "--namespace", "lb"
    ).partition("NOTES:")[2]
    assert re.search(r"grpcurl -(plaintext|insecure) .*lookaside\.LoadBalancer/GetServers", notes)
    assert re.search(r'_channel\("lookaside://[a-z-]+\.lb:\d+/SERVICE\.NAMESPACE"', notes)
    assert "lookaside explain" in notes


def _one(rendered: list[Object], kind: str) -> Object:
    (found,) = [each for each in rendered if each["kind"] == kind]
    return found


def _container(item: Object) -> Object:
    spec = item["spec"]
    container: Object = (spec["template"]["spec"] if "template" in spec else spec)["containers"][0]
    return container
