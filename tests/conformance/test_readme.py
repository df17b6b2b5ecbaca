"""The examples of the README run."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

import client_resolver
from tests.conformance.servers import Balancer

README = Path(client_resolver.__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
TARGET = "lookaside://lookaside.infra:50052/"
PROTO = """
syntax = "proto3";
package helloworld;
message HelloRequest { string name = 1; }
message HelloReply { string message = 1; }
service Greeter { rpc SayHello(HelloRequest) returns (HelloReply); }
"""


@pytest.fixture
def greeter() -> Iterator[str]:
    # Request and reply have the same bytes: one string in field 1.
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
        lambda request, _context: request
    )
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("helloworld.Greeter", {"SayHello": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait(20)


@pytest.mark.parametrize("example", EXAMPLES, ids=["sync", "aio"])
def test_an_example_runs(
    example: str, greeter: str, new_balancer: Callable[..., Balancer], tmp_path: Path
) -> None:
    balancer = new_balancer()
    balancer.say([greeter])
    (tmp_path / "greeter.proto").write_text(PROTO)
    arguments = [f"-I{tmp_path}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *arguments, "greeter.proto"]
    subprocess.run(protoc, check=True, cwd=tmp_path)
    assert TARGET in example
    (tmp_path / "example.py").write_text(
        example.replace(TARGET, f"lookaside://{balancer.address}/")
    )
    done = subprocess.run(
        [sys.executable, "example.py"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "World\n"
