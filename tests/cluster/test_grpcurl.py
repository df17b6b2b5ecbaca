"""grpcurl reads the service as its users do: by reflection, with no proto at hand."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.cluster.balancer import Balancer
from tests.cluster.harness import Binaries, ControlPlane
from tests.cluster.objects import Namespace

PodAddress = Callable[[], str]
Run = Callable[..., str]

_SERVICES: Final = [
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "grpc.health.v1.Health",
    "grpc.lb.v1.LoadBalancer",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "lookaside.LoadBalancer",
]


@pytest.fixture
def grpcurl(binaries: Binaries, balancer: Balancer) -> Run:
    """A function that runs `grpcurl -plaintext ARGS` and gives what it prints."""

    def run(*args: str) -> str:
        done = subprocess.run(
            [binaries.grpcurl, "-plaintext", "-max-time", "10", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def default_greeter(
    control_plane: ControlPlane, balancer: Balancer, pod_address: PodAddress
) -> Iterator[str]:
    """The address of the one Pod of the Service `greeter` in the namespace `default`."""
    namespace = Namespace(control_plane, "default")
    namespace.service("greeter")
    address = pod_address()
    namespace.pod("greeter-0", address, app="greeter")
    balancer.wait_for("greeter", f"{address}:50051")
    yield f"{address}:50051"
    namespace.delete_pod("greeter-0")
    namespace.delete_service("greeter")


def test_get_servers_answers_a_short_name(grpcurl: Run, default_greeter: str) -> None:
    answer = json.loads(
        grpcurl(
            *("-d", '{"service_name":"greeter"}'),
            *("localhost:50052", "lookaside.LoadBalancer/GetServers"),
        )
    )
    assert [(each["address"], each["weight"]) for each in answer["servers"]] == [
        (default_greeter, 100)
    ]
    assert answer["state"] == "STATE_PRESENT"
    assert answer["service"] == "greeter.default:grpc"


@pytest.mark.parametrize("name", ["greeter.default", "greeter.default.svc.cluster.local:grpc"])
def test_get_servers_answers_a_long_name(grpcurl: Run, default_greeter: str, name: str) -> None:
    asked = json.dumps({"service_name": name})
    answer = json.loads(
        grpcurl("-d", asked, "localhost:50052", "lookaside.LoadBalancer/GetServers")
    )
    assert [each["address"] for each in answer["servers"]] == [default_greeter]


def test_the_first_message_of_a_watch_comes_at_once(
    binaries: Binaries, default_greeter: str
) -> None:
    argv = [str(binaries.grpcurl), "-plaintext", "-d", '{"service_name":"greeter"}']
    with subprocess.Popen(
        [*argv, "localhost:50052", "lookaside.LoadBalancer/WatchServers"],
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        try:
            first = _document(watch.stdout)
        finally:
            watch.terminate()
    assert [each["address"] for each in first["servers"]] == [default_greeter]


def test_list_names_the_services_and_their_methods(grpcurl: Run) -> None:
    assert grpcurl("localhost:50052", "list").split() == _SERVICES
    methods = grpcurl("localhost:50052", "list", "lookaside.LoadBalancer").split()
    assert methods == sorted(methods)
    for name in ("GetServers", "WatchServers", "ListServices"):
        assert f"lookaside.LoadBalancer.{name}" in methods


def test_describe_shows_a_method(grpcurl: Run) -> None:
    described = grpcurl("localhost:50052", "describe", "lookaside.LoadBalancer.GetServers")
    assert described.splitlines()[0] == "lookaside.LoadBalancer.GetServers is a method:"
    assert described.splitlines()[-1] == (
        "rpc GetServers ( .lookaside.GetServersRequest ) returns ( .lookaside.GetServersResponse );"
    )


def test_describe_shows_a_message_with_the_numbers_of_its_fields(grpcurl: Run) -> None:
    described = grpcurl("localhost:50052", "describe", "lookaside.Server")
    for line in (
        "string address = 1;",
        "int32 weight = 2;",
        "map<string, string> metadata = 3;",
    ):
        assert line in described


@pytest.mark.parametrize("service", ["", "lookaside.LoadBalancer", "greeter.default"])
def test_the_health_check_says_serving(grpcurl: Run, default_greeter: str, service: str) -> None:
    asked = json.dumps({"service": service})
    answer = grpcurl("-d", asked, "localhost:50052", "grpc.health.v1.Health/Check")
    assert json.loads(answer) == {"status": "SERVING"}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer(grpcurl: Run, version: str) -> None:
    method = f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"

    def ask(request: str) -> str:
        return grpcurl("-format", "text", "-d", request, "localhost:50052", method)

    listed = ask('list_services: ""')
    assert re.findall(r'name: "(.*)"', listed) == _SERVICES
    found = ask('file_containing_symbol: "lookaside.LoadBalancer.GetServers"')
    assert found.count("file_descriptor_proto:") == 1


def _document(lines: Iterator[str]) -> Any:
    """Read one JSON document of several lines, and no further."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip() == "}":
            return json.loads(text)
    raise AssertionError(f"it ended after {text!r}")
