"""etcd is restored to an older state, under a service that is running."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import network, pki
from tests.cluster.balancer import Balancer
from tests.cluster.figures import record
from tests.cluster.handmade import at_port, body, endpoint
from tests.cluster.harness import HOST, Binaries, ControlPlane, Settings
from tests.cluster.objects import Namespace
from tests.conformance.proxy import Proxy

SETTINGS: Final = Settings(
    api_port=7443, etcd_port=7379, etcd_peer_port=7380, advertise_address="10.255.255.2"
)
NOTICED_WITHIN: Final = 30.0
SERVICE: Final = "greeter.restored"


@pytest.fixture
def own_plane(binaries: Binaries, tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane for one test, since its history is rewritten."""
    with ControlPlane(binaries, tmp_path, SETTINGS) as running:
        yield running
    network.remove_address(SETTINGS.advertise_address)


@pytest.fixture
def way(own_plane: ControlPlane) -> Iterator[Proxy]:
    """The service's way to the API server."""
    proxy = Proxy(SETTINGS.api_port)
    yield proxy
    proxy.close()


@pytest.fixture
def balancer(own_plane: ControlPlane, way: Proxy, tmp_path: Path) -> Iterator[Balancer]:
    kubeconfig = pki.write_kubeconfig(
        tmp_path / "way.kubeconfig",
        server=f"https://{HOST}:{way.port}",
        certificates=own_plane.certificates,
    )
    with Balancer(kubeconfig, tmp_path) as running:
        running.wait_ready()
        yield running


class History:
    """An etcd whose data are copied while it is stopped, and put back later."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._data = plane.directory / "etcd"
        self._copy = plane.directory / "copy"

    def snapshot(self) -> None:
        self._stop()
        shutil.copytree(self._data, self._copy)
        self._start()

    def restore(self) -> None:
        self._stop()
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)
        self._start()

    def _stop(self) -> None:
        # All that knows the history is stopped, as etcd's documentation demands of a restore.
        self._plane.controllers.stop()
        self._plane.stop_apiserver(kill=True)
        self._plane.etcd.stop()

    def _start(self) -> None:
        self._plane.etcd.start()
        self._plane.start_apiserver()
        self._plane.controllers.start()


def write(namespace: Namespace, *addresses: str) -> None:
    namespace.set_endpoints("greeter-1", [endpoint(each) for each in addresses])


def version(plane: ControlPlane) -> int:
    listed = plane.admin.get("/apis/discovery.k8s.io/v1/endpointslices?limit=1")
    return int(listed["metadata"]["resourceVersion"])


@pytest.mark.parametrize("grown", [False, True], ids=["went-back", "grown-past-the-position"])
def test_a_restored_history_is_listed_within_seconds(
    own_plane: ControlPlane, way: Proxy, balancer: Balancer, grown: bool
) -> None:
    history = History(own_plane)
    namespace = Namespace.create(own_plane, "restored")
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    history.snapshot()
    for number in range(2, 60):
        write(namespace, f"192.0.2.{number}")
    namespace.slice("greeter-2", "greeter", body(["198.51.100.1"]))
    balancer.wait_for(SERVICE, *at_port("192.0.2.59", "198.51.100.1"))
    position = version(own_plane)

    if grown:
        way.freeze()
        way.reset()
    history.restore()
    assert version(own_plane) < position
    if grown:
        while version(own_plane) <= position + 10:
            write(namespace, "203.0.113.1")
            write(namespace, "203.0.113.2")
        way.thaw()
    back = time.monotonic()
    # In the restored history `greeter-2` was never made, and nothing tells that it is gone.
    truth = at_port("203.0.113.2" if grown else "192.0.2.1")
    balancer.process.wait_until(
        lambda: sorted(one.address for one in balancer.get(SERVICE).servers) == truth,
        NOTICED_WITHIN,
    )
    record(f"etcd restored, grown={grown}: listed after {time.monotonic() - back:.1f} s")
    write(namespace, "192.0.2.77")
    balancer.wait_for(SERVICE, *at_port("192.0.2.77"))
