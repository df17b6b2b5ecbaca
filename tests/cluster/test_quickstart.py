"""The quickstart's commands do what it says: they are read from the page, and run in its order.

helm, kubectl, `lookaside` and grpcurl are the real ones, and so is the API server. The namespaces
and names are the page's; the balancer's address alone is replaced, for there is no port-forward.

What needs a container engine or a kubelet can't run here: kind, docker, `kubectl logs` and
`kubectl port-forward`; nor is anything installed. `node.Node` is the kubelets, which start the
greeter and its client from the checkout instead of from their image; the flags of the two kubectl
commands are parsed and no more.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.cluster import network
from tests.cluster.api import Object
from tests.cluster.balancer import quiet
from tests.cluster.clusterip import ClusterIp
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.lines import LineProcess
from tests.cluster.node import Node
from tests.cluster.objects import Namespace
from tests.cluster.release import Helm
from tests.docs.fences import DOCS, ROOT, Command, commands_of

_PAGE: Final = DOCS / "quickstart.md"
_ENTRYPOINT: Final = ("python", "-m")
"""What examples/Dockerfile says."""

_NOT_HERE: Final = frozenset({"kind", "docker", "python3", ".", "pip"})
_NO_KUBELET: Final = frozenset({"logs", "port-forward"})
_WORKERS: Final = ("kind-worker", "kind-worker2")
"""What kind calls the two nodes of examples/kind.yaml that are workers."""

_NAMESPACES: Final = frozenset({"lookaside", "grpc-services"})
_LOCAL: Final = "localhost:50052"


class Reader:
    """Types the page's commands, one after the other, those left out that can't run here.

    Args:
        binaries: The programs.
        control_plane: The cluster.
        directory: Where logs and helm's own files go.

    Attributes:
        balancer: What stands in for localhost:50052.
    """

    def __init__(self, binaries: Binaries, control_plane: ControlPlane, directory: Path) -> None:
        self._helm = Helm(binaries.helm, control_plane.kubeconfig, directory / "helm")
        self._programs = {
            "kubectl": [str(binaries.kubectl)],
            "grpcurl": [str(binaries.grpcurl), "-max-time", "10"],
            "lookaside": [sys.executable, "-m", "lookaside"],
        }
        self._kubeconfig = str(control_plane.kubeconfig)
        self._directory = directory
        self._left = [each for each in commands_of(_PAGE) if _runs_here(each)]
        self.balancer = ""

    def types(self, beginning: str) -> str:
        """Run the page's next command, which begins so; gives what it prints."""
        words = self._next(beginning)
        if words[0] == "helm":
            return self._helm.run(*words[1:], timeout=120)
        done = subprocess.run(
            [*self._programs[words[0]], *words[1:]],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def leaves_running(self, beginning: str) -> LineProcess:
        """Run the page's next command, which begins so, in another terminal."""
        program, *rest = self._next(beginning)
        argv = [*self._programs[program], *rest]
        return LineProcess(argv, self._directory / f"{program}.log", self._environment())

    @property
    def left(self) -> list[str]:
        """What the page has still to be typed."""
        return [str(each) for each in self._left]

    def _next(self, beginning: str) -> list[str]:
        assert self._left, f"the page has nothing more: {beginning}"
        command = self._left.pop(0)
        assert command.text.startswith(beginning), f"{command}, not {beginning}"
        return [word.replace(_LOCAL, self.balancer) for word in command.words]

    def _environment(self) -> dict[str, str]:
        own = {"KUBECONFIG": self._kubeconfig, "LOOKASIDE_ADDRESS": self.balancer}
        return {**os.environ, **quiet(), **own}


@pytest.fixture
def reader(
    binaries: Binaries,
    control_plane: ControlPlane,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Reader]:
    """Someone who follows the page in the root of the checkout."""
    network.allow_forwarding()
    monkeypatch.chdir(ROOT)
    yield Reader(binaries, control_plane, tmp_path)
    known = {
        each["metadata"]["name"] for each in control_plane.admin.get("/api/v1/namespaces")["items"]
    }
    for name in known & _NAMESPACES:
        Namespace(control_plane, name).delete()


@pytest.mark.timeout(300)
def test_the_quickstart_does_what_it_says(
    reader: Reader, control_plane: ControlPlane, tmp_path: Path
) -> None:
    system = Namespace(control_plane, "lookaside")
    greeters = Namespace(control_plane, "grpc-services")
    with ExitStack() as stack:
        balancers = stack.enter_context(Node(system, tmp_path))
        assert "STATUS: deployed" in reader.types("helm install")
        proxy = stack.enter_context(ClusterIp(control_plane, "lookaside", "lookaside"))
        reader.balancer = proxy.address
        balancers.hosts["lookaside.lookaside.svc"] = proxy.host

        pods = stack.enter_context(
            Node(greeters, tmp_path, {"lookaside.lookaside": proxy.host}, _ENTRYPOINT, _WORKERS)
        )
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
        (client,) = (name for name in pods.sandboxes if name.startswith("greeter-client"))
        log = _Log(pods.sandboxes[client].log)
        assert _are_as([100] * 3, log.next_round(lambda shares: len(shares) == 3))

        with reader.leaves_running("lookaside watch") as watch:
            watch.wait(lambda lines: len([line for line in lines if "10.246." in line]) == 3)
            before = len(watch.lines)
            assert "scaled" in reader.types("kubectl scale deployment/greeter --replicas 5")
            watch.wait(lambda lines: len(_arrivals(lines[before:])) == 2)
        assert _are_as([100] * 5, log.next_round(lambda shares: len(shares) == 5))

        assert "annotated" in reader.types("kubectl annotate")
        rows = [line.split("\t") for line in reader.types("lookaside get").splitlines()[1:]]
        assert {node: weight for _, weight, _, _, node, _ in rows} == dict(
            zip(_WORKERS, ("10", "100"), strict=True)
        )
        weights = [int(weight) for _, weight, *_ in rows]
        log.next_round(lambda shares: _are_as(weights, shares))
        assert "annotated" in reader.types("kubectl annotate")
        assert "least_request" in reader.types("lookaside get")

        assert "scaled" in reader.types("kubectl scale deployment/lookaside --replicas 0")
        path = "/api/v1/namespaces/lookaside/pods"
        control_plane.admin.wait(path, lambda found: not found, 60)
        for _ in range(2):
            assert sum(log.next_round(lambda shares: len(shares) == 5)) == 100
        assert "failed" not in log.text
        assert "scaled" in reader.types("kubectl scale deployment/lookaside --replicas 2")
        assert "successfully rolled out" in reader.types("kubectl rollout status")

        assert "Phase:          Succeeded" in reader.types("helm test")
        assert "deleted" in reader.types("kubectl delete namespace")
        assert "uninstalled" in reader.types("helm uninstall")
    assert reader.left == []


def test_the_cluster_has_the_nodes_that_the_page_names() -> None:
    (create,) = (
        each for each in commands_of(_PAGE) if each.program == "kind" and "create" in each.words
    )
    cluster = yaml.safe_load((ROOT / create.words[-1]).read_text())
    roles = [node["role"] for node in cluster["nodes"]]
    assert roles == ["control-plane", *["worker"] * len(_WORKERS)]


def test_what_needs_a_kubelet_has_flags_that_kubectl_knows(binaries: Binaries) -> None:
    asked = [each for each in commands_of(_PAGE) if _needs_a_kubelet(each)]
    assert {each.words[1] for each in asked} == _NO_KUBELET
    for command in asked:
        # The other flags are parsed before the help is shown, and an unknown one is refused.
        argv = [str(binaries.kubectl), *command.words[1:], "--help"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, f"{command}: {done.stderr}"


class _Log:
    """What the client prints, round by round."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text()

    def next_round(self, holds: Callable[[list[int]], bool]) -> list[int]:
        """Wait for a round that has begun after this call, and is as wanted.

        Returns:
            How many requests each backend answered.
        """
        # The one that is under way is let go by.
        first = len(_rounds(self.text.splitlines())) + 1
        argv: list[str | Path] = ["tail", "-n", "+1", "-f", self._path]
        with LineProcess(argv, self._path.with_suffix(".tail")) as tail:
            lines = tail.wait(lambda said: any(map(holds, _rounds(said)[first:])), timeout=60)
        return next(each for each in _rounds(lines)[first:] if holds(each))


def _rounds(lines: list[str]) -> list[list[int]]:
    """Read the client's rounds that are over: the answers of each backend."""
    rounds: list[list[int]] = []
    for line in lines:
        if line.endswith(" answers"):
            rounds.append([])
        elif rounds and line.startswith("  "):
            rounds[-1].append(int(line.split()[1]))
    return [each for each in rounds if sum(each) == 100]


def _are_as(weights: list[int], shares: list[int]) -> bool:
    """Say whether no share is off by 2 or more: each end of the round may be off by less than 1."""
    due = sorted(weight * sum(shares) / sum(weights) for weight in weights)
    return len(due) == len(shares) and all(
        abs(share - own) < 2 for share, own in zip(sorted(shares), due, strict=True)
    )


def _ready(slices: list[Object]) -> int:
    endpoints = [each for found in slices for each in found["endpoints"] or ()]
    return sum(each["conditions"]["ready"] for each in endpoints)


def _arrivals(lines: list[str]) -> list[str]:
    return [line for line in lines if "+" in line and "10.246." in line]


def _needs_a_kubelet(command: Command) -> bool:
    return command.program == "kubectl" and command.words[1] in _NO_KUBELET


def _runs_here(command: Command) -> bool:
    return command.program not in _NOT_HERE and not _needs_a_kubelet(command)
