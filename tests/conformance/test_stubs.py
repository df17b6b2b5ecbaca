"""Stubs that the installed grpcio-tools generates."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.clients import Client
from tests.conformance.servers import Backend

PROTO = """
syntax = "proto3";
package t;
message Text { string text = 1; }
service Echo {
  rpc Unary(Text) returns (Text);
  rpc ServerStream(Text) returns (stream Text);
  rpc ClientStream(stream Text) returns (Text);
  rpc Bidi(stream Text) returns (stream Text);
}
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "conformance_echo.proto").write_text(PROTO)
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={folder}"),
            *(f"--grpc_python_out={folder}", "conformance_echo.proto"),
        ],
        check=True,
        cwd=folder,
    )
    modules = []
    for name in ("conformance_echo_pb2", "conformance_echo_pb2_grpc"):
        spec = importlib.util.spec_from_file_location(name, Path(folder, f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        modules.append(module)
    return modules


async def test_generated_stubs_work(
    shell: str, generated: Any, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    messages, services = generated
    client = connect(f"static:///{backend().address},{backend().address}")
    await client.ready()
    stub = services.EchoStub(client.channel)
    text = messages.Text(text="a")
    for _ in range(4):
        if shell == "sync":
            assert stub.Unary(text, timeout=20) == text
            assert list(stub.ServerStream(text)) == [text] * 3
            assert stub.ClientStream(iter([text])) == text
            assert list(stub.Bidi(iter([text, text]))) == [text] * 2
        else:
            assert await stub.Unary(text, timeout=20) == text
            assert [m async for m in stub.ServerStream(text)] == [text] * 3
            assert await stub.ClientStream([text]) == text
            assert [m async for m in stub.Bidi([text, text])] == [text] * 2
