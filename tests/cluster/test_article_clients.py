"""Clients generated from the article's proto, unchanged, work against the service."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.balancer import Balancer
from tests.cluster.build import HERE
from tests.cluster.harness import Binaries
from tests.cluster.lines import LineProcess
from tests.cluster.objects import Namespace

PodAddress = Callable[[], str]
ARTICLE = HERE / "article"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Python's code for the article's proto, made by the installed generator."""
    folder = tmp_path_factory.mktemp("article")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", ARTICLE),
            *(f"--python_out={folder}", f"--grpc_python_out={folder}", "lookaside.proto"),
        ],
        check=True,
        timeout=60,
    )
    return folder


@pytest.fixture(params=["go", "python"])
def client(
    request: pytest.FixtureRequest, binaries: Binaries, generated: Path, tmp_path: Path
) -> Callable[..., LineProcess]:
    """A function that makes a client of the arguments; both languages take the same ones."""
    argv: list[str | Path] = [binaries.goclient]
    if request.param == "python":
        argv = [sys.executable, ARTICLE / "client.py"]
    env = {**os.environ, "PYTHONPATH": str(generated)}

    def make(*args: str) -> LineProcess:
        return LineProcess([*argv, *args], tmp_path / "client.log", env)

    return make


def test_it_gets_the_list_and_watches_it_change(
    balancer: Balancer,
    namespace: Namespace,
    pod_address: PodAddress,
    client: Callable[..., LineProcess],
) -> None:
    namespace.service("greeter")
    first, second = pod_address(), pod_address()
    namespace.pod("greeter-0", first, app="greeter")
    name = f"greeter.{namespace.name}"
    balancer.wait_for(name, f"{first}:50051")

    with client("--address", balancer.address, "--service", name, "--watch", "3") as asking:
        asking.wait_for_documents(lambda seen: len(seen) == 2)
        namespace.pod("greeter-1", second, app="greeter")
        asking.wait_for_documents(lambda seen: len(seen) == 3)
        namespace.delete_pod("greeter-0")
        seen = asking.wait_for_documents(lambda seen: len(seen) == 4)

    methods = [each["method"] for each in seen]
    assert methods == ["GetServers", "WatchServers", "WatchServers", "WatchServers"]
    one, other = f"{first}:50051", f"{second}:50051"
    assert [_addresses(each) for each in seen] == [{one}, {one}, {one, other}, {other}]
    assert {server["weight"] for each in seen for server in each["servers"]} == {100}


def test_it_is_told_that_a_service_is_unknown_and_may_wait_for_it(
    balancer: Balancer,
    namespace: Namespace,
    pod_address: PodAddress,
    client: Callable[..., LineProcess],
) -> None:
    name = f"greeter.{namespace.name}"
    with client("--address", balancer.address, "--service", name, "--watch", "3") as asking:
        seen = asking.wait_for_documents(lambda seen: len(seen) == 2)
        assert seen[0]["code"].replace("_", "").lower() == "notfound"
        assert _addresses(seen[1]) == set()
        namespace.service("greeter")
        asking.wait_for_documents(lambda seen: len(seen) == 3)
        address = pod_address()
        namespace.pod("greeter-0", address, app="greeter")
        seen = asking.wait_for_documents(lambda seen: len(seen) == 4)
        assert _addresses(seen[3]) == {f"{address}:50051"}


def _addresses(document: Any) -> set[str]:
    return {server["address"] for server in document["servers"]}
