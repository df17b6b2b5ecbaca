"""Interceptors run once per RPC, above the pick."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.clients import AioClient, Client, SyncClient
from tests.conformance.servers import Backend

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
REQUESTS: dict[str, tuple[str, Any, list[bytes]]] = {
    "unary_unary": ("Unary", b"a", [b"a"]),
    "unary_stream": ("ServerStream", b"a", [b"a"] * 3),
    "stream_unary": ("ClientStream", [b"a", b"b"], [b"ab"]),
    "stream_stream": ("Bidi", [b"a", b"b"], [b"a", b"b"]),
}


def tagging(shell: str, kind: str, seen: list[str]) -> Any:
    """Make an interceptor of one kind that adds metadata and notes the method."""

    def tag(details: Any) -> Any:
        path = details.method
        seen.append(path.decode() if isinstance(path, bytes) else path)
        if shell == "sync":
            return details._replace(metadata=(("tag", "1"),))
        metadata = grpc.aio.Metadata(("tag", "1"))
        return details._replace(metadata=metadata)

    def sync(_self: Any, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(tag(details), request)

    async def aio(_self: Any, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(tag(details), request)

    word = "".join(part.capitalize() for part in kind.split("_"))
    base = getattr(grpc if shell == "sync" else grpc.aio, f"{word}ClientInterceptor")
    return type("Tag", (base,), {f"intercept_{kind}": sync if shell == "sync" else aio})()


def intercepted(shell: str, target: str, interceptors: list[Any]) -> Client:
    if shell == "aio":
        return AioClient(target, interceptors=interceptors)
    client = SyncClient(target)
    client.channel = grpc.intercept_channel(client.channel, *interceptors)
    return client


@pytest.mark.parametrize("kind", KINDS)
async def test_interceptors_of_every_kind_run(
    kind: str, shell: str, backend: Callable[[], Backend]
) -> None:
    server = backend()
    seen: list[str] = []
    method, request, responses = REQUESTS[kind]
    target = f"static:///{server.address}"
    client = intercepted(shell, target, [tagging(shell, kind, seen)])
    try:
        assert await client.collect(kind, method, request, timeout=20) == responses
        assert seen == [f"/echo.Echo/{method}"]
        assert dict(server.received[0].metadata)["tag"] == "1"
    finally:
        await client.close()


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_aio_writes_go_through_interceptors(
    kind: str, backend: Callable[[], Backend]
) -> None:
    seen: list[str] = []
    interceptors = [tagging("aio", kind, seen)]
    target = f"static:///{backend().address}"
    async with client_resolver.aio.insecure_channel(target, interceptors=interceptors) as channel:
        method = "ClientStream" if kind == "stream_unary" else "Bidi"
        call: Any = getattr(EchoStub(channel), method)(timeout=20)
        await call.write(Message(data=b"a"))
        await call.write(Message(data=b"b"))
        await call.done_writing()
        if kind == "stream_unary":
            assert (await call).data == b"ab"
        else:
            assert [response.data async for response in call] == [b"a", b"b"]


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_aio_writes_without_interceptors(kind: str, backend: Callable[[], Backend]) -> None:
    target = f"static:///{backend().address}"
    async with client_resolver.aio.insecure_channel(target) as channel:
        method = "ClientStream" if kind == "stream_unary" else "Bidi"
        call: Any = getattr(EchoStub(channel), method)(timeout=20)
        await call.write(Message(data=b"a"))
        await call.write(Message(data=b"b"))
        await call.done_writing()
        if kind == "stream_unary":
            assert (await call).data == b"ab"
        else:
            assert (await call.read()).data == b"a"
            assert (await call.read()).data == b"b"
            assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_an_aio_interceptor_that_tries_again_gets_another_backend(
    backend: Callable[[], Backend],
) -> None:
    class Again(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            await (await continuation(details, request)).code()
            return await continuation(details, request)

    servers = [backend(), backend()]
    target = f"static:///{servers[0].address},{servers[1].address}"
    async with client_resolver.aio.insecure_channel(target, interceptors=[Again()]) as channel:
        unary: Any = EchoStub(channel).Unary
        while not all(server.calls for server in servers):
            await unary(Message(), timeout=20)
        for server in servers:
            server.clear_calls()
        for _ in range(3):
            await unary(Message(), timeout=20)
        assert [server.calls["Unary"] for server in servers] == [3, 3]


async def test_an_aio_interceptor_may_answer_itself() -> None:
    class Answer(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return Message(data=b"answered")

    channel = client_resolver.aio.insecure_channel("static:///127.0.0.1:1", interceptors=[Answer()])
    async with channel, asyncio.timeout(20):
        assert (await EchoStub(channel).Unary(Message())).data == b"answered"


def test_what_is_no_interceptor_is_refused() -> None:
    interceptors: Any = [object()]
    with pytest.raises(ValueError, match="nterceptor"):
        client_resolver.aio.insecure_channel("static:///127.0.0.1:1", interceptors=interceptors)
