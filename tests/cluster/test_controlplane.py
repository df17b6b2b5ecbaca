"""The control plane is what the other cluster tests take it for."""

import http
import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.cluster.api import ApiError, Object
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.objects import Namespace, Port, ready_addresses

PodAddress = Callable[[], str]

READ_SLICES: Object = {
    "apiGroups": ["discovery.k8s.io"],
    "resources": ["endpointslices"],
    "verbs": ["list", "watch"],
}


def test_the_controller_makes_slices_of_a_services_pods(
    namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", [Port(50051, "grpc", app_protocol="kubernetes.io/h2c")])
    addresses = [pod_address() for _ in range(3)]
    for number, address in enumerate(addresses):
        namespace.pod(f"greeter-{number}", address, app="greeter")

    [found] = namespace.wait_for_ready("greeter", addresses)
    assert found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (
        "endpointslice-controller.k8s.io"
    )
    assert found["ports"] == [
        {
            "name": "grpc",
            "port": 50051,
            "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c",
        }
    ]

    namespace.delete_pod("greeter-1")
    namespace.wait_for_ready("greeter", [addresses[0], addresses[2]])


def test_a_pod_is_ready_only_while_its_status_says_so(
    namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter", ready=False)
    namespace.wait_for_slices("greeter", lambda found: _conditions(found) == [(False, False)])
    namespace.set_ready("greeter-0", True)
    namespace.wait_for_ready("greeter", [address])
    namespace.set_ready("greeter-0", False)
    namespace.wait_for_ready("greeter", [])


def test_a_terminating_pod_serves_until_it_is_gone(
    namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    namespace.wait_for_ready("greeter", [address])
    namespace.terminate_pod("greeter-0")
    namespace.wait_for_slices("greeter", lambda found: _conditions(found) == [(True, True)])
    namespace.delete_pod("greeter-0")
    namespace.wait_for_slices("greeter", lambda found: bool(found) and not _conditions(found))


def test_the_slices_of_a_deleted_service_go_after_it(
    namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    namespace.wait_for_ready("greeter", [address])
    namespace.delete_service("greeter")
    namespace.wait_for_slices("greeter", lambda found: not found, timeout=60)


def test_a_node_gives_its_pods_their_zone(
    control_plane: ControlPlane, namespace: Namespace, pod_address: PodAddress
) -> None:
    control_plane.add_node("node-eu-1a", zone="eu-1a")
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter", node="node-eu-1a")
    [found] = namespace.wait_for_ready("greeter", [address])
    assert [(e["nodeName"], e["zone"]) for e in found["endpoints"]] == [("node-eu-1a", "eu-1a")]


def test_a_service_without_a_selector_has_the_slices_it_is_given(namespace: Namespace) -> None:
    namespace.service("outside", selector={})
    endpoints = [{"addresses": ["192.0.2.7"]}]
    namespace.slice("outside-1", "outside", {"endpoints": endpoints, "ports": [{"port": 50051}]})
    namespace.wait_for_ready("outside", ["192.0.2.7"])


def test_loopback_addresses_are_refused_in_slices(namespace: Namespace) -> None:
    with pytest.raises(ApiError, match="loopback") as refusal:
        namespace.slice("local-1", "local", {"endpoints": [{"addresses": ["127.0.0.1"]}]})
    assert refusal.value.status == http.HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_token_has_the_rights_of_its_role_and_no_more(namespace: Namespace) -> None:
    slices = "/apis/discovery.k8s.io/v1/endpointslices"
    nobody = namespace.service_account("nobody")
    with pytest.raises(ApiError, match="endpointslices") as refusal:
        nobody.client.get(slices)
    assert refusal.value.status == http.HTTPStatus.FORBIDDEN

    reader = namespace.service_account("reader", [READ_SLICES], everywhere=True)
    assert reader.client.get(slices)["kind"] == "EndpointSliceList"
    with pytest.raises(ApiError, match="pods") as refusal:
        reader.client.get("/api/v1/pods")
    assert refusal.value.status == http.HTTPStatus.FORBIDDEN

    local = namespace.service_account("local", [READ_SLICES])
    own = f"/apis/discovery.k8s.io/v1/namespaces/{namespace.name}/endpointslices"
    assert local.client.get(own)["kind"] == "EndpointSliceList"
    with pytest.raises(ApiError, match="cluster scope"):
        local.client.get(slices)


def test_an_unknown_token_is_unauthorised(control_plane: ControlPlane) -> None:
    with pytest.raises(ApiError) as refusal:
        control_plane.client("invented").get("/api/v1/pods")
    assert refusal.value.status == http.HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("kill", [False, True])
def test_the_api_server_comes_back_with_its_data(
    control_plane: ControlPlane, namespace: Namespace, pod_address: PodAddress, kill: bool
) -> None:
    namespace.service("greeter")
    first, second = pod_address(), pod_address()
    namespace.pod("greeter-0", first, app="greeter")
    namespace.wait_for_ready("greeter", [first])

    control_plane.stop_apiserver(kill=kill)
    with pytest.raises(ConnectionRefusedError):
        control_plane.admin.get("/version")
    control_plane.start_apiserver()
    control_plane.restart_controllers()

    namespace.wait_for_ready("greeter", [first])
    namespace.pod("greeter-1", second, app="greeter")
    namespace.wait_for_ready("greeter", [first, second])


def test_a_frozen_api_server_keeps_its_connections(control_plane: ControlPlane) -> None:
    control_plane.pause_apiserver()
    try:
        assert not control_plane.admin.is_ready(timeout=0.5)
    finally:
        control_plane.resume_apiserver()
    assert control_plane.admin.is_ready()


def test_a_pods_address_can_be_listened_on(pod_address: PodAddress) -> None:
    address = pod_address()
    with (
        socket.create_server((address, 50051)),
        socket.create_connection((address, 50051), timeout=5) as client,
    ):
        assert client.getpeername() == (address, 50051)


def test_helm_and_grpcurl_are_the_pinned_ones(binaries: Binaries) -> None:
    assert _output(binaries.helm, "version", "--short").startswith("v4.")
    assert "v1." in _output(binaries.grpcurl, "--version")


def test_helm_reaches_the_cluster(
    binaries: Binaries, control_plane: ControlPlane, namespace: Namespace
) -> None:
    listed = _output(
        binaries.helm, "--kubeconfig", control_plane.kubeconfig, "-n", namespace.name, "list", "-q"
    )
    assert not listed.strip()


def test_ready_addresses_takes_an_unset_condition_as_ready() -> None:
    unset = {"endpoints": [{"addresses": ["192.0.2.2"]}]}
    refused = {"endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}]}
    assert ready_addresses([unset, refused, {"endpoints": None}]) == ["192.0.2.2"]


def _conditions(slices: list[Object]) -> list[tuple[bool, bool]]:
    """Give (serving, terminating) of every endpoint."""
    return [
        (endpoint["conditions"]["serving"], endpoint["conditions"]["terminating"])
        for item in slices
        for endpoint in item.get("endpoints") or []
    ]


def _output(*argv: object) -> str:
    done = subprocess.run(
        [str(arg) for arg in argv], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
