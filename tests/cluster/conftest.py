"""The control plane, one for all tests, and a namespace for each test."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import network
from tests.cluster.accounts import Account
from tests.cluster.balancer import LEAST_RIGHTS, Balancer
from tests.cluster.figures import FIGURES
from tests.cluster.greeters import Greeters
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.release import Helm, Release
from tests.cluster.run import PROGRAMS

_NAMESPACES: Final = itertools.count(1)
_ADDRESSES: Final = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> None:
    """Leave the proxies of the environment as they are: Go may fetch modules through one."""


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The programs that the runner has built; without the runner the test is skipped."""
    folder = os.environ.get(PROGRAMS)
    if folder is None or not network.is_private():
        pytest.skip("needs a control plane: make test-cluster")
    return Binaries.in_directory(Path(folder))


@pytest.fixture(scope="session")
def control_plane(
    binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The one control plane of the run, ready. A test that stops a part of it starts it again."""
    with ControlPlane(binaries, tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the test's own, deleted after it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    name = f"{words[:40].strip('-')}-{next(_NAMESPACES)}"
    created = Namespace.create(control_plane, name)
    yield created
    created.delete()


@pytest.fixture
def pod_address(control_plane: ControlPlane) -> Iterator[Callable[[], str]]:
    """A function that gives an address for a Pod, on `lo` until the test's end."""
    given: list[str] = []

    def give() -> str:
        number = next(_ADDRESSES)
        address = f"10.244.{number // 250}.{number % 250 + 1}"
        network.add_address(address)
        given.append(address)
        return address

    yield give
    for address in given:
        network.remove_address(address)


@pytest.fixture(scope="session")
def account(control_plane: ControlPlane) -> Account:
    """A service account with the least rights that the service needs in the whole cluster."""
    system = Namespace.create(control_plane, "lookaside-system")
    return system.service_account("lookaside", LEAST_RIGHTS, everywhere=True)


@pytest.fixture(scope="module")
def balancer(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """The service on its default ports, ready; one for all tests of a module."""
    with Balancer(account.kubeconfig, tmp_path_factory.mktemp("lookaside")) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def greeters(
    namespace: Namespace, pod_address: Callable[[], str], tmp_path: Path
) -> Iterator[Greeters]:
    """The greeters of the Service `greeter` in the test's namespace; none at first."""
    with Greeters(namespace, pod_address, tmp_path) as running:
        yield running


@pytest.fixture
def restricted(control_plane: ControlPlane, namespace: Namespace) -> Namespace:
    """The test's namespace, which enforces the restricted Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.admin.patch(
        f"/api/v1/namespaces/{namespace.name}", {"metadata": {"labels": labels}}
    )
    return namespace


@pytest.fixture
def helm(binaries: Binaries, control_plane: ControlPlane, tmp_path: Path) -> Helm:
    """The real helm, with the admin's rights."""
    return Helm(binaries.helm, control_plane.kubeconfig, tmp_path / "helm")


@pytest.fixture
def release(helm: Helm, control_plane: ControlPlane, restricted: Namespace) -> Iterator[Release]:
    """A release to be installed, taken away at the end."""
    network.allow_forwarding()
    made = Release(helm, control_plane, restricted.name)
    yield made
    made.uninstall()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
