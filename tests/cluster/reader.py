"""Someone who follows a page of the documentation, and types what it says.

helm, kubectl, `lookaside` and grpcurl are the real ones, and so is the API server. The balancer's
address alone is replaced, for there is no port-forward.

What needs a container engine or a kubelet can't run here: kind, docker, `kubectl logs` and
`kubectl port-forward`; nor is anything installed. `node.Node` is the kubelets, which start the
greeter and its clients from the checkout instead of from their image.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.cluster import network
from tests.cluster.api import ApiError, Object
from tests.cluster.balancer import quiet
from tests.cluster.clusterip import ClusterIp
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.lines import LineProcess
from tests.cluster.node import Node
from tests.cluster.objects import DEFAULT_NODE, Namespace
from tests.cluster.release import Helm
from tests.docs.fences import ROOT, Command, commands_of

_ENTRYPOINT: Final = ("python", "-m")
"""What examples/Dockerfile says."""

BALANCERS: Final = "lookaside"
GREETERS: Final = "grpc-services"
"""What the pages call their namespaces."""

NO_KUBELET: Final = frozenset({"logs", "port-forward"})
"""What kubectl asks a kubelet for."""

_NOT_HERE: Final = frozenset({"kind", "docker", "python", "python3", ".", "pip"})
"""What isn't typed here: what installs, and clients without a cluster (see tests/examples)."""
_LOCAL: Final = "localhost:50052"


class Reader:
    """Types a page's commands, one after the other, those left out that can't run here.

    Args:
        page: The page.
        binaries: The programs.
        control_plane: The cluster.
        directory: Where logs and helm's own files go.

    Attributes:
        balancer: What stands in for localhost:50052.
    """

    def __init__(
        self, page: Path, binaries: Binaries, control_plane: ControlPlane, directory: Path
    ) -> None:
        self._helm = Helm(binaries.helm, control_plane.kubeconfig, directory / "helm")
        self._programs = {
            "kubectl": [str(binaries.kubectl)],
            "grpcurl": [str(binaries.grpcurl), "-max-time", "10"],
            "lookaside": [sys.executable, "-m", "lookaside"],
        }
        self._control_plane = control_plane
        self._directory = directory
        self._left = [each for each in commands_of(page) if _runs_here(each)]
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

    def uninstalls(self) -> None:
        """Take away the balancer, if the page has not told to."""
        self._helm.run("uninstall", "lookaside", "--namespace", BALANCERS, "--ignore-not-found")

    @contextmanager
    def installs(self, *nodes: str) -> Iterator[Node]:
        """Run the page's next command, which installs the balancer, and run Pods from then on.

        Args:
            nodes: The names of the nodes that the greeters are put on; none: one.

        Yields:
            What runs the Pods of the greeters and of their clients.
        """
        plane, folder = self._control_plane, self._directory
        with ExitStack() as stack:
            balancers = stack.enter_context(Node(Namespace(plane, BALANCERS), folder))
            assert "STATUS: deployed" in self.types("helm install")
            proxy = stack.enter_context(ClusterIp(plane, BALANCERS, "lookaside"))
            self.balancer = proxy.address
            balancers.hosts["lookaside.lookaside.svc"] = proxy.host
            hosts = {"lookaside.lookaside": proxy.host}
            names = nodes or (DEFAULT_NODE,)
            yield stack.enter_context(
                Node(Namespace(plane, GREETERS), folder, hosts, _ENTRYPOINT, names)
            )

    def logs(self, pods: Node, deployment: str, number: int = 1) -> list["Log"]:
        """Wait until so many Pods of a deployment run; give their logs."""

        def running(found: list[Object]) -> list[str]:
            names = [
                pod["metadata"]["name"] for pod in found if pod["status"]["phase"] == "Running"
            ]
            return [name for name in names if name.startswith(f"{deployment}-")]

        path = f"/api/v1/namespaces/{GREETERS}/pods"
        found = self._control_plane.admin.wait(path, lambda pods: len(running(pods)) == number, 60)
        return [Log(pods.sandboxes[name].log) for name in running(found)]

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
        own = {
            "KUBECONFIG": str(self._control_plane.kubeconfig),
            "LOOKASIDE_ADDRESS": self.balancer,
        }
        return {**os.environ, **quiet(), **own}


@contextmanager
def reading(
    page: Path, binaries: Binaries, control_plane: ControlPlane, directory: Path
) -> Iterator[Reader]:
    """Have someone follow a page to its end; its namespaces are deleted then."""
    network.allow_forwarding()
    reader = Reader(page, binaries, control_plane, directory)
    try:
        with chdir(ROOT):
            yield reader
        assert reader.left == []
    finally:
        reader.uninstalls()
        for name in (BALANCERS, GREETERS):
            remove(control_plane, name)


def remove(control_plane: ControlPlane, name: str) -> None:
    """Delete a namespace with the Pods that no node ends any more, and wait until it is gone."""
    core = "/api/v1/namespaces"
    with suppress(ApiError):
        control_plane.admin.delete(f"{core}/{name}")
        for pod in control_plane.admin.get(f"{core}/{name}/pods")["items"]:
            with suppress(ApiError):
                control_plane.admin.delete(f"{core}/{name}/pods/{pod['metadata']['name']}", grace=0)
    control_plane.admin.wait(
        core, lambda found: name not in {each["metadata"]["name"] for each in found}, 60
    )


class Log:
    """What a client prints, round by round.

    Args:
        path: Where.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text()

    @property
    def failures(self) -> list[str]:
        """The requests that failed, a line each."""
        return [line for line in self.text.splitlines() if line.startswith("failed: ")]

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


def are_as(weights: list[int], shares: list[int]) -> bool:
    """Say whether no share is off by 2 or more: each end of the round may be off by less than 1."""
    due = sorted(weight * sum(shares) / sum(weights) for weight in weights)
    return len(due) == len(shares) and all(
        abs(share - own) < 2 for share, own in zip(sorted(shares), due, strict=True)
    )


def needs_a_kubelet(command: Command) -> bool:
    """Say whether a command asks a kubelet for something."""
    return command.program == "kubectl" and command.words[1] in NO_KUBELET


def _rounds(lines: list[str]) -> list[list[int]]:
    """Read the client's rounds that are over: the answers of each backend."""
    rounds: list[list[int]] = []
    for line in lines:
        if line.endswith(" answers"):
            rounds.append([])
        elif rounds and line.startswith("  "):
            rounds[-1].append(int(line.split()[1]))
    return [each for each in rounds if sum(each) == 100]


def _runs_here(command: Command) -> bool:
    return command.program not in _NOT_HERE and not needs_a_kubelet(command)
