"""Stubs that the installed grpcio-tools generates: those checked in are the oldest one's."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.clients import Client
from tests.conformance.servers import Backend

PROTOS = Path(__file__).parents[2] / "protos"


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    arguments = [f"-I{PROTOS}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *arguments, "echo/echo.proto"],
        check=True,
        cwd=tmp_path,
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ("echo", "echo.echo_pb2", "echo.echo_pb2_grpc")
    yield [importlib.import_module(name) for name in names][1:]
    for name in names:
        del sys.modules[name]


async def test_generated_stubs_work(
    shell: str, generated: Any, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    messages, services = generated
    client = connect(f"static:///{backend().address},{backend().address}")
    await client.ready()
    stub = services.EchoStub(client.channel)
    text = messages.Message(data=b"a")
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
