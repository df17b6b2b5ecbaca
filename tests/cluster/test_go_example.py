"""The examples in Go: a client that goes by the balancer's lists, and a server behind it."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.balancer import Balancer
from tests.cluster.build import HERE, find_go
from tests.cluster.greeters import Greeters
from tests.cluster.lines import LineProcess
from tests.cluster.objects import Namespace
from tests.cluster.run import PROGRAMS

EXAMPLE = HERE.parents[1] / "examples" / "go"


def program(name: str) -> Path:
    """Return where a program of the example is."""
    return Path(os.environ[PROGRAMS], name)


def test_its_proto_is_the_articles() -> None:
    article = HERE / "article" / "lookaside.proto"
    assert (EXAMPLE / "lookaside.proto").read_bytes() == article.read_bytes()


@pytest.mark.parametrize("command", ["vet", "test"])
def test_go_finds_nothing_wrong_with_it(command: str) -> None:
    if shutil.which("go") is None:
        pytest.skip("no Go here: it is needed to build, and what is built is kept")
    go = find_go()
    done = subprocess.run(
        [go.program, command, "./..."],
        cwd=EXAMPLE,
        env=go.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_calls_each_pod_by_its_weight(
    balancer: Balancer, namespace: Namespace, greeters: Greeters
) -> None:
    namespace.service("greeter")
    greeters.add(3)
    service = f"greeter.{namespace.name}"
    balancer.wait_for(service, *greeters.targets)
    answered = _greet(balancer, service, 600)
    assert answered.keys() == greeters.targets
    # The first requests are made before all are connected.
    assert max(answered.values()) - min(answered.values()) <= 60


def test_a_server_in_go_is_called_by_a_client_in_go(
    balancer: Balancer, namespace: Namespace, pod_address: Callable[[], str], tmp_path: Path
) -> None:
    address = pod_address()
    flags = ["-listen", f"{address}:50051", "-linger", "0s"]
    with LineProcess([str(program("greeter-server")), *flags], tmp_path / "server.log") as server:
        server.wait(lambda lines: lines == [f"{address}:50051"])
        namespace.service("greeter")
        namespace.pod("greeter-0", address, app="greeter")
        service = f"greeter.{namespace.name}"
        balancer.wait_for(service, f"{address}:50051")
        assert _greet(balancer, service, 10) == {f"{address}:50051": 10}
        assert server.terminate() == 0


def _greet(balancer: Balancer, service: str, requests: int) -> dict[str, int]:
    target = f"lookaside://{balancer.address}/{service}"
    flags = ["-target", target, "-requests", str(requests), "-pause", "1ms"]
    done = subprocess.run(
        [program("greeter-client"), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S+) +(\d+)$", done.stdout, re.MULTILINE)
    return {backend: int(number) for backend, number in rows}
