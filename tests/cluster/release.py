"""Releases of the chart, by the real helm."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from tests.cluster.api import Object
from tests.cluster.harness import ControlPlane

CHART: Final = Path(__file__).parents[2] / "helm" / "lookaside"
DEFAULTS: Final = CHART / "values.yaml"
PRESETS: Final = [DEFAULTS, CHART / "values-ha.yaml", *sorted((CHART / "ci").glob("*.yaml"))]
"""The values that every test of the chart goes through."""


class HelmError(Exception):
    """helm failed; the message is what it said."""


class Helm:
    """The command helm, with no files of the user's.

    Args:
        program: The program.
        kubeconfig: How it reaches the cluster.
        home: Where its own files go.
    """

    def __init__(self, program: Path, kubeconfig: Path, home: Path) -> None:
        self._program = program
        own = {f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        self._env = {**os.environ, **own, "KUBECONFIG": str(kubeconfig)}

    def run(self, *args: str | Path, timeout: float = 90) -> str:
        """Run it, and give what it printed.

        Raises:
            HelmError: It failed.
        """
        done = subprocess.run(
            [str(self._program), *map(str, args)],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def template(self, *args: str | Path, version: str = "1.36.0") -> list[Object]:
        """Render the chart for a version of Kubernetes."""
        flags = ["--namespace", "lookaside", "--kube-version", version]
        return objects(self.run("template", "lookaside", CHART, *flags, *args))

    def refusal(self, *args: str | Path) -> str:
        """Render the chart with values that it refuses; give what is said."""
        try:
            self.run("template", "lookaside", CHART, *args)
        except HelmError as error:
            return str(error)
        raise AssertionError(f"not refused: {args}")


class Release:
    """A release of the chart in a namespace.

    Args:
        helm: The command.
        control_plane: The cluster.
        namespace: The namespace.
        name: The release's name.
    """

    def __init__(
        self, helm: Helm, control_plane: ControlPlane, namespace: str, name: str = "lookaside"
    ) -> None:
        self._helm = helm
        self._api = control_plane.admin
        self.namespace = namespace
        self.name = name

    def install(self, *args: str | Path) -> str:
        """Install it; gives its notes."""
        return self._run("install", self.name, CHART, *args)

    def upgrade(self, *args: str | Path) -> None:
        """Install it anew over itself, and wait until that has rolled out."""
        self._run("upgrade", self.name, CHART, "--wait", "--timeout", "60s", *args)

    def rollback(self, revision: int) -> None:
        """Go back to a revision, and wait until that has rolled out."""
        self._run("rollback", self.name, str(revision), "--wait", "--timeout", "60s")

    def test(self) -> str:
        """Run its tests, and give what they said."""
        return self._run("test", self.name, "--timeout", "30s")

    def uninstall(self) -> None:
        """Take it away."""
        self._run("uninstall", self.name, "--wait", "--timeout", "30s")

    def objects(self) -> list[Object]:
        """Give the objects that it has, hooks left out, as they were rendered."""
        return objects(self._run("get", "manifest", self.name))

    def hooks(self) -> list[Object]:
        """Give its hooks, as they were rendered."""
        return objects(self._run("get", "hooks", self.name))

    def of_kind(self, kind: str) -> list[Object]:
        """Give its objects of a kind, as they were rendered."""
        return [each for each in self.objects() if each["kind"] == kind]

    def deployment(self) -> Object:
        """Give its Deployment, as the cluster has it."""
        (rendered,) = self.of_kind("Deployment")
        name = rendered["metadata"]["name"]
        return self._api.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")

    def wait_available(self, timeout: float = 60) -> int:
        """Wait until all of its replicas are available; gives how many.

        Raises:
            TimeoutError: They were not, in time.
        """
        deployment = self.deployment()
        wanted: int = deployment["spec"]["replicas"]

        def holds(found: list[Object]) -> bool:
            status = found[0].get("status", {})
            return bool(status.get("availableReplicas", 0) == wanted)

        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        name = deployment["metadata"]["name"]
        self._api.wait(path, holds, timeout, fieldSelector=f"metadata.name={name}")
        return wanted

    def _run(self, *args: str | Path) -> str:
        return self._helm.run(*args, "--namespace", self.namespace)


def objects(text: str) -> list[Object]:
    """Read the objects of a manifest."""
    return [each for each in yaml.safe_load_all(text) if each]


def ids(presets: Sequence[Path]) -> list[str]:
    """Give the names of tests by files of values."""
    return [path.stem.removesuffix("-values") for path in presets]
