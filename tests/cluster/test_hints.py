"""Endpoints near the client: the hints of the real controller, and those that do not count."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.api import Object
from tests.cluster.balancer import Balancer, served
from tests.cluster.handmade import at_port, body, catch_up, endpoint
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace
from tests.cluster.watches import Watch

PodAddress = Callable[[], str]

_NODES: Final = {"hints-a1": "zone-a", "hints-a2": "zone-a", "hints-b1": "zone-b"}
"""Nodes and their zones; a Pod runs on each."""


@pytest.fixture
def addresses(
    control_plane: ControlPlane, namespace: Namespace, pod_address: PodAddress
) -> dict[str, str]:
    """The addresses of the Pods of `greeter`, by their nodes."""
    found = {}
    for node, zone in _NODES.items():
        control_plane.add_node(node, zone=zone)
        found[node] = pod_address()
        namespace.pod(f"greeter-{node}", found[node], app="greeter", node=node)
    return found


@pytest.mark.parametrize("distribution", ["PreferSameZone", "PreferClose"])
def test_a_client_gets_the_endpoints_of_its_zone_where_the_service_prefers_that(
    balancer: Balancer, namespace: Namespace, addresses: dict[str, str], distribution: str
) -> None:
    namespace.service("greeter", trafficDistribution=distribution)
    _wait_for_hints(balancer, namespace, "forZones")
    name = f"greeter.{namespace.name}"
    near = at_port(addresses["hints-a1"], addresses["hints-a2"])
    _expect(balancer, name, near, zone="zone-a")
    _expect(balancer, name, near, zone="zone-a", node="hints-b1")
    _expect(balancer, name, at_port(addresses["hints-b1"]), zone="zone-b")
    _expect(balancer, name, at_port(*addresses.values()), zone="zone-c")
    _expect(balancer, name, at_port(*addresses.values()), node="hints-b1")
    _expect(balancer, name, at_port(*addresses.values()))


def test_a_client_gets_the_endpoints_of_its_node_before_those_of_its_zone(
    balancer: Balancer, namespace: Namespace, addresses: dict[str, str]
) -> None:
    namespace.service("greeter", trafficDistribution="PreferSameNode")
    _wait_for_hints(balancer, namespace, "forNodes")
    name = f"greeter.{namespace.name}"
    _expect(balancer, name, at_port(addresses["hints-a2"]), node="hints-a2")
    _expect(balancer, name, at_port(addresses["hints-a1"]), node="hints-a1")
    _expect(balancer, name, at_port(addresses["hints-a1"]), node="hints-a1", zone="zone-b")
    near = at_port(addresses["hints-a1"], addresses["hints-a2"])
    _expect(balancer, name, near, node="hints-a3", zone="zone-a")
    _expect(balancer, name, at_port(*addresses.values()), node="hints-c1", zone="zone-c")
    _expect(balancer, name, at_port(*addresses.values()))


def test_the_commands_ask_as_a_client_in_a_zone(
    balancer: Balancer, namespace: Namespace, addresses: dict[str, str]
) -> None:
    namespace.service("greeter", trafficDistribution="PreferSameZone")
    _wait_for_hints(balancer, namespace, "forZones")
    name = f"greeter.{namespace.name}"
    shown = balancer.command("get", name, "--zone", "zone-b", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    [only] = json.loads(shown.stdout)["servers"]
    assert only["address"] == f"{addresses['hints-b1']}:50051"
    assert only["locality"] == {"zone": "zone-b", "node": "hints-b1"}
    told = balancer.command("explain", name, "--zone", "zone-b").stdout
    assert "1 of 3 endpoints listed" in told
    assert told.count("meant for zone zone-a; the client is in zone-b") == 2


def test_a_client_gets_all_when_its_zone_has_lost_its_last_endpoint(
    balancer: Balancer, namespace: Namespace, addresses: dict[str, str]
) -> None:
    namespace.service("greeter", trafficDistribution="PreferSameZone")
    name = f"greeter.{namespace.name}"
    far = at_port(addresses["hints-a1"], addresses["hints-a2"])
    with Watch(balancer, name, client=pb.Client(zone="zone-b")) as watch:
        watch.wait(lambda message: served(message) == at_port(addresses["hints-b1"]))
        namespace.set_ready("greeter-hints-b1", False)
        watch.wait(lambda message: served(message) == far)
        namespace.set_ready("greeter-hints-b1", True)
        watch.wait(lambda message: served(message) == at_port(addresses["hints-b1"]))


def test_hints_do_not_count_while_one_ready_endpoint_has_none(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    name = f"greeter.{namespace.name}"
    hinted = [
        endpoint("192.0.2.1", hints=_zones("zone-a")),
        endpoint("192.0.2.2", hints=_zones("zone-a", "zone-b")),
        endpoint("192.0.2.3", hints=_zones("zone-c")),
    ]
    namespace.slice("greeter-1", "greeter", body(hinted))
    namespace.slice("greeter-2", "greeter", body(["192.0.2.4"]))
    catch_up(balancer, namespace)
    every = at_port(*(f"192.0.2.{number}" for number in range(1, 5)))
    _expect(balancer, name, every, zone="zone-a")
    # It counts no longer once it is not ready, for hints are the ready ones' alone.
    namespace.set_endpoints("greeter-2", [endpoint("192.0.2.4", conditions={"ready": False})])
    balancer.wait_for(name, *every[:3])
    _expect(balancer, name, every[:2], zone="zone-a")
    _expect(balancer, name, every[1:2], zone="zone-b")
    _expect(balancer, name, every[:3], zone="zone-d")


def test_hints_do_not_count_where_all_endpoints_terminate(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter", selector={})
    ending = {"ready": False, "serving": True, "terminating": True}
    endpoints = [
        endpoint("192.0.2.1", conditions=ending, hints=_zones("zone-a")),
        endpoint("192.0.2.2", conditions=ending, hints=_zones("zone-b")),
    ]
    namespace.slice("greeter-1", "greeter", body(endpoints))
    catch_up(balancer, namespace)
    both = at_port("192.0.2.1", "192.0.2.2")
    _expect(balancer, f"greeter.{namespace.name}", both, zone="zone-a")


def _expect(balancer: Balancer, service: str, addresses: list[str], **client: Any) -> None:
    assert served(balancer.get(service, client=pb.Client(**client))) == addresses, client


def _zones(*names: str) -> Object:
    return {"forZones": [{"name": name} for name in names]}


def _wait_for_hints(balancer: Balancer, namespace: Namespace, field: str) -> None:
    """Wait until the controller has hinted all Pods, and the service knows."""

    def holds(slices: list[Object]) -> bool:
        found = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
        return len(found) == len(_NODES) and all(
            (endpoint.get("hints") or {}).get(field) for endpoint in found
        )

    namespace.wait_for_slices("greeter", holds)
    catch_up(balancer, namespace)
