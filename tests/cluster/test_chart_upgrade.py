"""An upgrade of a release, and its rollback, are nothing that clients notice."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.api import ApiClient
from tests.cluster.clusterip import ClusterIp
from tests.cluster.figures import record
from tests.cluster.greeters import Greeters
from tests.cluster.harness import ControlPlane
from tests.cluster.node import Node
from tests.cluster.objects import Namespace
from tests.cluster.release import Release
from tests.cluster.traffic import calling

_FLAGS: Final = ("--set", "preStopSeconds=1", "--set", "config.grace=2s")


@pytest.fixture
def greeters(
    control_plane: ControlPlane,
    namespace: Namespace,
    pod_address: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Greeters]:
    """Greeters in a namespace that restricts no Pods."""
    created = Namespace.create(control_plane, f"{namespace.name}-greeters")
    created.service("greeter")
    with Greeters(created, pod_address, tmp_path) as running:
        yield running
    created.delete()


def test_no_call_of_a_client_fails_during_upgrade_and_rollback(
    release: Release,
    control_plane: ControlPlane,
    restricted: Namespace,
    greeters: Greeters,
    tmp_path: Path,
) -> None:
    api = control_plane.admin
    greeters.add(2)
    service = f"greeter.{restricted.name}-greeters"
    release.install(*_FLAGS)
    with (
        ClusterIp(control_plane, restricted.name, "lookaside") as proxy,
        Node(restricted, tmp_path),
    ):
        release.wait_available()
        first = _pods(api, restricted.name)
        assert len(first) == 2
        with calling(proxy.address, service, "upgrade and rollback") as clients:
            clients.settle(greeters.targets)

            release.upgrade(*_FLAGS, "--set", "config.debounce=10ms")
            second = _pods(api, restricted.name)
            assert not first & second
            # The watches have moved to the new Pods: what changes now is seen.
            (new,) = greeters.add(1)
            clients.reach(new.target)
            clients.settle(greeters.targets)

            release.rollback(1)
            third = _pods(api, restricted.name)
            assert not second & third
            assert "debounce" not in release.of_kind("ConfigMap")[0]["data"]["lookaside.yaml"]
            (newer,) = greeters.add(1)
            clients.reach(newer.target)
            clients.settle(greeters.targets)
            answered = sum(client.calls for client in clients.clients)
            record(f"upgrade and rollback of the chart: 0 of {answered} calls failed")


def _pods(api: ApiClient, namespace: str) -> set[str]:
    """Give the names of the Pods that the release has and keeps."""
    selector = "app.kubernetes.io/component=balancer"
    listed = api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
    return {pod["metadata"]["name"] for pod in listed if "deletionTimestamp" not in pod["metadata"]}
