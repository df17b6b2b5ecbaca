"""What the service makes of a real controller's slices, as its clients and its commands see it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from lookaside._pb import lookaside_pb2 as pb
from tests.cluster.api import Object
from tests.cluster.balancer import Balancer, served
from tests.cluster.harness import ControlPlane
from tests.cluster.objects import Namespace, Port

PodAddress = Callable[[], str]
MANY = 110
"""More Pods than the controller puts into one slice."""


def test_get_and_watch_show_the_ready_pods_of_a_service(
    balancer: Balancer,
    control_plane: ControlPlane,
    namespace: Namespace,
    pod_address: PodAddress,
) -> None:
    control_plane.add_node("node-eu-1a", zone="eu-1a")
    service = f"greeter.{namespace.name}"
    # Lists are ordered by address, as text.
    first, second = sorted([pod_address(), pod_address()])
    with balancer.watching(service) as watch, balancer.watching(service, "table") as table:
        watch.wait_for_documents(lambda seen: _states(seen) == ["STATE_ABSENT"])
        table.wait(lambda lines: len(lines) == 1)
        namespace.service("greeter")
        watch.wait_for_documents(lambda seen: _states(seen)[-1] == "STATE_EMPTY")
        namespace.pod("greeter-0", first, app="greeter", node="node-eu-1a")
        watch.wait_for_documents(lambda seen: _addresses(seen[-1]) == [f"{first}:50051"])
        namespace.pod("greeter-1", second, app="greeter", ready=False)
        namespace.set_ready("greeter-1", True)
        both = [f"{first}:50051", f"{second}:50051"]
        watch.wait_for_documents(lambda seen: _addresses(seen[-1]) == both)
        namespace.delete_pod("greeter-0")
        seen = watch.wait_for_documents(lambda seen: _addresses(seen[-1]) == both[1:])
        lines = table.wait(lambda lines: lines[-1].endswith(f"- {first}:50051"))

    # The time and the name stand before it.
    told = [line.split("  ", 2)[2] for line in lines]
    assert told[0].startswith("there is no such service yet")
    # Then why, as far as the slices say it by then.
    assert told[1].startswith("exists and has no endpoints")
    assert told[2:] == [
        "1 endpoint",
        f"+ {first}:50051  weight 100  zone eu-1a",
        f"+ {second}:50051  weight 100",
        f"- {first}:50051",
    ]
    # One message for every change, and none in between.
    assert [len(each["servers"]) for each in seen] == [0, 0, 1, 2, 1]
    versions = [int(each["revision"]["version"]) for each in seen[1:]]
    assert versions == sorted(versions)
    [only] = seen[2]["servers"]
    assert only["locality"] == {"zone": "eu-1a", "node": "node-eu-1a"}
    assert (only["weight"], only["health"]) == (100, "HEALTH_READY")

    shown = balancer.command("get", service, "-o", "json")
    assert shown.returncode == 0, shown.stderr
    assert _addresses(json.loads(shown.stdout)) == both[1:]
    rows = balancer.command("get", service).stdout.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["ADDRESS", both[1]]
    listed = balancer.command("list", "--namespace", namespace.name).stdout.splitlines()
    assert [line.split("\t")[:3] for line in listed[1:]] == [[f"{service}:grpc", "present", "1"]]


def test_an_unknown_service_is_not_found(balancer: Balancer, namespace: Namespace) -> None:
    name = f"nobody.{namespace.name}"
    assert balancer.refusal(name)[0] is grpc.StatusCode.NOT_FOUND
    shown = balancer.command("get", name)
    assert shown.returncode == 3
    assert name in shown.stderr


def test_a_service_without_pods_is_known_to_be_empty(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait(name, lambda message: message.state == pb.STATE_EMPTY)
    assert balancer.get(name).state == pb.STATE_EMPTY
    shown = balancer.command("get", name)
    assert shown.returncode == 0
    assert "exists and has no endpoints" in shown.stderr


def test_a_service_of_two_ports_is_asked_for_by_the_name_or_number_of_one(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", [Port(80, "grpc", target=50051), Port(81, "admin", target=9000)])
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(f"{name}:grpc", f"{address}:50051")
    for asked, target in [("80", 50051), ("admin", 9000), ("81", 9000)]:
        assert served(balancer.get(f"{name}:{asked}")) == [f"{address}:{target}"]
    assert served(balancer.get(f"{name}.svc.cluster.local:grpc")) == [f"{address}:50051"]
    code, details = balancer.refusal(name)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "grpc (80), admin (81)" in details
    assert balancer.refusal(f"{name}:50051")[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_headless_service_is_served_as_another(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", clusterIP="None")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    balancer.wait_for(f"greeter.{namespace.name}", f"{address}:50051")


def test_a_service_without_a_selector_has_the_endpoints_of_its_own_slices(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("outside", selector={})
    ports = [{"name": "grpc", "port": 50061}]
    endpoints = [{"addresses": ["192.0.2.7"]}, {"addresses": ["192.0.2.8"]}]
    namespace.slice("outside-1", "outside", {"endpoints": endpoints, "ports": ports})
    balancer.wait_for(f"outside.{namespace.name}", "192.0.2.7:50061", "192.0.2.8:50061")


def test_an_external_name_is_refused_with_the_name_to_dial(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("alias", selector={}, type="ExternalName", externalName="greeter.example.com")
    name = f"alias.{namespace.name}"
    # A watch that came before the source's event waits for it, and is refused then.
    with pytest.raises(grpc.RpcError) as refused:
        balancer.wait(name, lambda message: False)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    code, details = balancer.refusal(name)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "greeter.example.com" in details


def test_a_pod_that_is_not_ready_leaves_and_comes_back(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    first, second = pod_address(), pod_address()
    namespace.pod("greeter-0", first, app="greeter")
    namespace.pod("greeter-1", second, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, f"{first}:50051", f"{second}:50051")
    namespace.set_ready("greeter-0", False)
    balancer.wait_for(name, f"{second}:50051")
    namespace.set_ready("greeter-0", True)
    balancer.wait_for(name, f"{first}:50051", f"{second}:50051")


def test_pods_that_are_not_ready_are_published_where_the_service_says_so(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", publishNotReadyAddresses=True)
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter", ready=False)
    balancer.wait_for(f"greeter.{namespace.name}", f"{address}:50051")


def test_the_last_pods_serve_while_they_terminate(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    first, second = pod_address(), pod_address()
    namespace.pod("greeter-0", first, app="greeter")
    namespace.pod("greeter-1", second, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, f"{first}:50051", f"{second}:50051")
    namespace.terminate_pod("greeter-0")
    balancer.wait_for(name, f"{second}:50051")
    namespace.terminate_pod("greeter-1")
    last = balancer.wait(name, lambda message: len(message.servers) == 2)
    assert {server.health for server in last.servers} == {pb.HEALTH_TERMINATING}
    namespace.delete_pod("greeter-0")
    namespace.delete_pod("greeter-1")
    balancer.wait(name, lambda message: message.state == pb.STATE_EMPTY)


def test_named_target_ports_may_differ_by_pod(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter", [Port(80, "grpc", target="serving")])
    first, second = pod_address(), pod_address()
    namespace.pod("greeter-0", first, app="greeter", ports=[Port(50051, "serving")])
    namespace.pod("greeter-1", second, app="greeter", ports=[Port(50061, "serving")])
    balancer.wait_for(f"greeter.{namespace.name}", f"{first}:50051", f"{second}:50061")
    namespace.wait_for_slices("greeter", lambda found: len(found) == 2)


def test_a_service_of_several_slices_has_every_pod_once(
    balancer: Balancer, namespace: Namespace
) -> None:
    namespace.service("greeter")

    def add(number: int) -> None:
        namespace.pod(f"greeter-{number}", f"10.245.0.{number}", app="greeter")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(MANY)))
    name = f"greeter.{namespace.name}"
    every = [f"10.245.0.{number}:50051" for number in range(MANY)]
    balancer.wait_for(name, *every)
    namespace.wait_for_slices("greeter", lambda found: len(found) == 2)
    for number in range(0, MANY, 10):
        namespace.delete_pod(f"greeter-{number}")
        every.remove(f"10.245.0.{number}:50051")
    balancer.wait_for(name, *every)


def test_a_watch_outlives_its_service_and_sees_the_next_of_the_name(
    balancer: Balancer, namespace: Namespace, pod_address: PodAddress
) -> None:
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    service = f"greeter.{namespace.name}"
    with balancer.watching(service) as watch:
        watch.wait_for_documents(lambda seen: _addresses(seen[-1]) == [f"{address}:50051"])
        namespace.delete_service("greeter")
        watch.wait_for_documents(lambda seen: _states(seen)[-1] == "STATE_ABSENT")
        namespace.wait_for_slices("greeter", lambda found: not found)
        namespace.service("greeter")
        watch.wait_for_documents(lambda seen: _addresses(seen[-1]) == [f"{address}:50051"])
        assert watch.terminate() == 143


def _states(seen: list[Object]) -> list[str]:
    return [each["state"] for each in seen]


def _addresses(document: Object) -> list[str]:
    return [server["address"] for server in document["servers"]]
