"""The examples' manifests on a real API server, and their READMEs' commands in their order.

Each strategy's client runs in tests/examples; here run those that need the balancer.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.cluster.api import ApiError
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.reader import Log, are_as, reading
from tests.examples.documents import EXAMPLES, MANIFESTS, Object, label, objects

_NAME: Final = "examples"
_LABELS: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def strict(control_plane: ControlPlane) -> Iterator[Namespace]:
    """A namespace that takes restricted Pods alone, from its first moment on."""
    metadata = {"name": _NAME, "labels": _LABELS}
    control_plane.admin.create("/api/v1/namespaces", {"metadata": metadata})
    namespace = Namespace(control_plane, _NAME)
    yield namespace
    namespace.delete()


def test_a_pod_that_may_do_more_is_refused(control_plane: ControlPlane, strict: Namespace) -> None:
    spec = {"containers": [{"name": "server", "image": "greeter:1.0.0"}]}
    path = f"/api/v1/namespaces/{strict.name}/pods"
    with pytest.raises(ApiError, match='violates PodSecurity "restricted'):
        control_plane.admin.create(path, {"metadata": {"name": "a"}, "spec": spec})


@pytest.mark.parametrize("path", MANIFESTS, ids=label)
def test_the_api_server_takes_a_manifest_and_its_pods(
    binaries: Binaries, control_plane: ControlPlane, strict: Namespace, path: Path
) -> None:
    given = [each for each in objects(path) if each["kind"] != "Namespace"]
    pods = [_pod(each) for each in given if "template" in each.get("spec", {})]
    asked = [each | {"metadata": each["metadata"] | {"namespace": strict.name}} for each in given]
    command = [str(binaries.kubectl), "--kubeconfig", str(control_plane.kubeconfig), "create"]
    done = subprocess.run(
        [*command, "--dry-run=server", "--namespace", strict.name, "--filename", "-"],
        input=yaml.safe_dump_all([*asked, *pods]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" created (server dry run)\n") == len(given) + len(pods)


@pytest.mark.timeout(240)
def test_strategy_3_does_what_it_says(
    binaries: Binaries, control_plane: ControlPlane, tmp_path: Path
) -> None:
    page = EXAMPLES / "strategy_3_lookaside" / "README.md"
    with reading(page, binaries, control_plane, tmp_path) as reader, reader.installs() as pods:
        reader.types("kubectl apply")
        logs = reader.logs(pods, "grpc-client", 2)
        for log in logs:
            log.next_round(lambda shares: are_as([100] * 5, shares))
        failed = [log.failures for log in logs]
        with reader.leaves_running("lookaside watch") as watch:
            watch.wait(lambda lines: sum("  + " in line for line in lines) == 5)
            assert "scaled" in reader.types("kubectl scale")
            watch.wait(lambda lines: sum("  + " in line for line in lines) == 8)
        for log in logs:
            log.next_round(lambda shares: len(shares) == 8)
        assert [log.failures for log in logs] == failed


@pytest.mark.timeout(240)
def test_the_canary_gets_what_its_weight_says(
    binaries: Binaries, control_plane: ControlPlane, tmp_path: Path
) -> None:
    page = EXAMPLES / "canary" / "README.md"
    with reading(page, binaries, control_plane, tmp_path) as reader, reader.installs() as pods:
        reader.types("kubectl apply")
        (log,) = reader.logs(pods, "greeter-client")
        log.next_round(lambda shares: are_as([100, 100, 100, 100, 10], shares))
        failed = log.failures
        rows = [line.split("\t") for line in reader.types("lookaside get").splitlines()[1:]]
        assert sorted((weight, "version=v2" in metadata) for _, weight, *_, metadata in rows) == [
            ("10", True),
            *[("100", False)] * 4,
        ]
        assert "annotated" in reader.types("kubectl annotate")
        log.next_round(lambda shares: are_as([100, 100, 100, 100, 50], shares))
        assert log.failures == failed


@pytest.mark.timeout(240)
def test_sessions_are_sticky_and_two_clients_agree_on_them(
    binaries: Binaries, control_plane: ControlPlane, tmp_path: Path
) -> None:
    page = EXAMPLES / "sticky" / "README.md"
    with reading(page, binaries, control_plane, tmp_path) as reader, reader.installs() as pods:
        reader.types("kubectl apply")
        one, other = reader.logs(pods, "grpc-client", 2)
        for log in (one, other):
            log.next_round(lambda shares: sum(shares) == 100)
        assert len(_sessions(one)) == 10
        assert _sessions(one) == _sessions(other)


def _pod(maker: Object) -> Object:
    """The first Pod of a Deployment or StatefulSet, which its namespace's Pod security meets."""
    template = maker["spec"]["template"]
    name = {"name": f"{maker['metadata']['name']}-0"}
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": template["metadata"] | name}


def _sessions(log: Log) -> dict[str, str]:
    """Whom each session met last."""
    return dict(re.findall(r"^(session-\d) +(.+)$", log.text, re.MULTILINE))
