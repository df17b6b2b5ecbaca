"""The examples of the README run, each as a script of its own."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import client_resolver
from client_resolver import testing

README = Path(client_resolver.__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
BALANCER = "lookaside.infra:50052"
FILE = "/etc/greeter/backends"
PORTS = ("127.0.0.1:50061", "127.0.0.1:50062")
PROTO = """
syntax = "proto3";
package helloworld;
message HelloRequest { string name = 1; }
message HelloReply { string message = 1; }
service Greeter { rpc SayHello(HelloRequest) returns (HelloReply); }
"""
CALLS_TESTS = """
for name, function in list(globals().items()):
    if name.startswith("test_"):
        function()
        print("World")
"""
CALLS_CHANNEL = """
import greeter_pb2
import greeter_pb2_grpc

with channel:
    stub = greeter_pb2_grpc.GreeterStub(channel)
    request = greeter_pb2.HelloRequest(name="World")
    metadata = (("user-id", "7"),)
    print(stub.SayHello(request, timeout=20, wait_for_ready=True, metadata=metadata).message)
"""


def called(example: str) -> str:
    """Add what is done with the tests or with the channel that an example makes."""
    if "def test_" in example:
        return example + CALLS_TESTS
    return example + CALLS_CHANNEL if "\nchannel = " in example else example


def title(example: str) -> str:
    """The line of an example that tells it from others."""
    telling = r"asyncio\.run|print\(reply|snapshot\(\)|class \w+|metrics import|telemetry\S+ import"
    found = re.search(rf"def \w+|{telling}|policy=.*|resolvers=.*", example)
    return "example" if found is None else found.group().strip()


@pytest.fixture
def backends() -> Iterator[testing.Backends]:
    # Request and reply have the same bytes, one string in field 1: an echo is a greeter.
    with testing.Backends(2) as started:
        yield started


@pytest.fixture
def balancer(backends: testing.Backends) -> Iterator[testing.Balancer]:
    with testing.Balancer() as started:
        started.serve("greeter.shop", backends)
        yield started


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "greeter.proto").write_text(PROTO)
    arguments = [f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *arguments, "greeter.proto"]
    subprocess.run(protoc, check=True, cwd=folder)
    return folder


@pytest.fixture
def run(
    backends: testing.Backends, balancer: testing.Balancer, stubs: Path, tmp_path: Path
) -> Callable[[str], str]:
    def run(example: str) -> str:
        listed = tmp_path / "backends"
        listed.write_text("\n".join(backend.address for backend in backends))
        example = example.replace(BALANCER, balancer.address).replace(FILE, str(listed))
        for port, backend in zip(PORTS, backends, strict=True):
            example = example.replace(port, backend.address)
        # A machine that is busy may take longer than a reader would wait.
        example = example.replace("timeout=5)", "timeout=100)")
        (tmp_path / "example.py").write_text(called(example))
        done = subprocess.run(
            [sys.executable, "-W", "error", str(tmp_path / "example.py")],
            check=True,
            env={"PYTHONPATH": str(stubs), "PATH": "", "GRPC_VERBOSITY": "NONE"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        return done.stdout

    return run


@pytest.mark.parametrize("example", EXAMPLES, ids=title)
def test_an_example_runs(
    example: str, run: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    printed = run(example)
    if "snapshot()" not in example:
        assert printed.endswith("World\n")


def test_the_first_two_examples_print_their_reply_themselves(run: Callable[[str], str]) -> None:
    assert [run(example) for example in EXAMPLES[:2]] == ["World\n", "World\n"]
