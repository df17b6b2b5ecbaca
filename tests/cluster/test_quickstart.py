"""The quickstart's commands do what it says: they are read from the page, and run in its order.

See `reader` for what is real. Of the two commands of kubectl that need a kubelet, the flags are
parsed and no more.
"""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.cluster.api import Object
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.reader import NO_KUBELET, are_as, needs_a_kubelet, reading
from tests.docs.fences import DOCS, ROOT, commands_of

_PAGE: Final = DOCS / "quickstart.md"
_WORKERS: Final = ("kind-worker", "kind-worker2")
"""What kind calls the two nodes of examples/kind.yaml that are workers."""


@pytest.mark.timeout(300)
def test_the_quickstart_does_what_it_says(
    binaries: Binaries, control_plane: ControlPlane, tmp_path: Path
) -> None:
    with (
        reading(_PAGE, binaries, control_plane, tmp_path) as reader,
        reader.installs(*_WORKERS) as pods,
    ):
        assert "deployment.apps/greeter created" in reader.types("kubectl apply")
        assert "successfully rolled out" in reader.types("kubectl rollout status")

        # Pods are ready before the slices say so, and sooner than a reader types.
        slices = "/apis/discovery.k8s.io/v1/namespaces/grpc-services/endpointslices"
        control_plane.admin.wait(slices, lambda found: _ready(found) == 3)
        assert "greeter.grpc-services:grpc\tpresent\t3\t" in reader.types("lookaside list")
        shown = reader.types("lookaside get")
        assert [line.split("\t")[1:3] for line in shown.splitlines()[1:]] == [["100", "ready"]] * 3
        assert "3 of 3 endpoints listed" in reader.types("lookaside explain")
        answer = json.loads(reader.types("grpcurl"))
        assert [each["weight"] for each in answer["servers"]] == [100] * 3
        assert answer["state"] == "STATE_PRESENT"
        assert answer["service"] == "greeter.grpc-services:grpc"

        assert "deployment.apps/greeter-client created" in reader.types("kubectl apply")
        assert "successfully rolled out" in reader.types("kubectl rollout status")
        (log,) = reader.logs(pods, "greeter-client")
        assert are_as([100] * 3, log.next_round(lambda shares: len(shares) == 3))

        with reader.leaves_running("lookaside watch") as watch:
            watch.wait(lambda lines: len([line for line in lines if "10.246." in line]) == 3)
            before = len(watch.lines)
            assert "scaled" in reader.types("kubectl scale deployment/greeter --replicas 5")
            watch.wait(lambda lines: len(_arrivals(lines[before:])) == 2)
        assert are_as([100] * 5, log.next_round(lambda shares: len(shares) == 5))

        assert "annotated" in reader.types("kubectl annotate")
        rows = [line.split("\t") for line in reader.types("lookaside get").splitlines()[1:]]
        assert {node: weight for _, weight, _, _, node, _ in rows} == dict(
            zip(_WORKERS, ("10", "100"), strict=True)
        )
        weights = [int(weight) for _, weight, *_ in rows]
        log.next_round(lambda shares: are_as(weights, shares))
        assert "annotated" in reader.types("kubectl annotate")
        assert "least_request" in reader.types("lookaside get")

        assert "scaled" in reader.types("kubectl scale deployment/lookaside --replicas 0")
        path = "/api/v1/namespaces/lookaside/pods"
        control_plane.admin.wait(path, lambda found: not found, 60)
        for _ in range(2):
            assert sum(log.next_round(lambda shares: len(shares) == 5)) == 100
        assert log.failures == []
        assert "scaled" in reader.types("kubectl scale deployment/lookaside --replicas 2")
        assert "successfully rolled out" in reader.types("kubectl rollout status")

        assert "Phase:          Succeeded" in reader.types("helm test")
        assert "deleted" in reader.types("kubectl delete namespace")
        assert "uninstalled" in reader.types("helm uninstall")


def test_the_cluster_has_the_nodes_that_the_page_names() -> None:
    (create,) = (
        each for each in commands_of(_PAGE) if each.program == "kind" and "create" in each.words
    )
    cluster = yaml.safe_load((ROOT / create.words[-1]).read_text())
    roles = [node["role"] for node in cluster["nodes"]]
    assert roles == ["control-plane", *["worker"] * len(_WORKERS)]


def test_whatneeds_a_kubelet_has_flags_that_kubectl_knows(binaries: Binaries) -> None:
    asked = [each for each in commands_of(_PAGE) if needs_a_kubelet(each)]
    assert {each.words[1] for each in asked} == NO_KUBELET
    for command in asked:
        # The other flags are parsed before the help is shown, and an unknown one is refused.
        argv = [str(binaries.kubectl), *command.words[1:], "--help"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def _ready(slices: list[Object]) -> int:
    endpoints = [each for found in slices for each in found["endpoints"] or ()]
    return sum(each["conditions"]["ready"] for each in endpoints)


def _arrivals(lines: list[str]) -> list[str]:
    return [line for line in lines if "+" in line and "10.246." in line]
