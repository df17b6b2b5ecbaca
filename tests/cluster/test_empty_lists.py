"""Lists that would be empty for a moment only, since Services and slices have several writers."""

import time
from collections.abc import Callable

import pytest

from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace, Port
from tests.cluster.watches import Watch

PodAddress = Callable[[], str]

# Half of the grace: what took longer on a machine that is busy shows nothing of it.
_QUICK = 0.5
_ROUNDS = 5


def test_a_port_that_is_renamed_shows_no_empty_list(
    balancer: Balancer, control_plane: ControlPlane, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    namespace.pod("greeter-0", address := pod_address(), app="greeter")
    path = f"/api/v1/namespaces/{namespace.name}/services/greeter"

    def rename(name: str) -> None:
        control_plane.admin.patch(path, {"spec": {"ports": [Port(name=name).as_object()]}})
        namespace.wait_for_slices(
            "greeter", lambda found: [port["name"] for port in found[0]["ports"]] == [name]
        )

    _show_no_empty_list(balancer, namespace, address, rename)


def test_a_service_that_is_made_anew_shows_no_empty_list(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))

    def make_anew(name: str) -> None:
        namespace.delete_service("greeter")
        namespace.service("greeter", [Port(name="grpc")], selector={}, annotations={"round": name})

    _show_no_empty_list(balancer, namespace, "192.0.2.1", make_anew)


def test_a_slice_that_is_emptied_before_another_is_filled_shows_no_empty_list(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    full, empty = body(["192.0.2.1"]), body([])
    namespace.slice("greeter-1", "greeter", full)
    namespace.slice("greeter-2", "greeter", empty)
    slices = ["greeter-1", "greeter-2"]

    def move(name: str) -> None:
        assert name
        namespace.set_endpoints(slices[0], [])
        namespace.set_endpoints(slices[1], full["endpoints"])
        slices.reverse()

    _show_no_empty_list(balancer, namespace, "192.0.2.1", move)


def test_what_is_really_empty_is_told_after_the_grace(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    namespace.slice("greeter-1", "greeter", body(["192.0.2.1"]))
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port("192.0.2.1"))
    with Watch(balancer, name) as watch:
        began = time.monotonic()
        namespace.set_endpoints("greeter-1", [])
        watch.wait(lambda message: not message.servers)
        assert time.monotonic() - began > _QUICK


def _show_no_empty_list(
    balancer: Balancer, namespace: Namespace, address: str, change: Callable[[str], None]
) -> None:
    """Make a change several times; where it was quick no watcher may see an empty list."""
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, *at_port(address))
    quick = 0
    for number in range(_ROUNDS):
        with Watch(balancer, name) as watch:
            watch.wait(lambda message: bool(message.servers))
            began = time.monotonic()
            change(f"round-{number}")
            catch_up(balancer, namespace)
            if time.monotonic() - began < _QUICK:
                quick += 1
                assert all(message.servers for message in watch.messages)
            watch.wait(lambda message: served(message) == at_port(address))
    if not quick:
        pytest.skip("the API server took longer than the grace each time")
