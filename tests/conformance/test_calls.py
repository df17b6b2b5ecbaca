"""The four kinds of RPC, and what can be asked of each."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from client_resolver import testing
from client_resolver.testing import eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import code_of, details_of, serving, snapshot
from tests.conformance.servers import Backend, Balancer

KINDS = [
    ("unary_unary", "Unary", b"a", [b"a"]),
    ("unary_stream", "ServerStream", b"a", [b"a"] * 3),
    ("stream_unary", "ClientStream", [b"a", b"b"], [b"ab"]),
    ("stream_stream", "Bidi", [b"a", b"b"], [b"a", b"b"]),
]


@pytest.mark.parametrize(("kind", "method", "request_", "responses"), KINDS)
@pytest.mark.parametrize("warm", [True, False])
async def test_every_kind_of_rpc_is_answered_at_once_and_after_a_wait(
    kind: str,
    method: str,
    request_: Any,
    responses: list[bytes],
    warm: bool,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    balancer.say([backend().address])
    client = connect(balancer)
    if warm:
        await client.ready()
    assert await client.collect(kind, method, request_, timeout=20) == responses


@pytest.mark.parametrize(("kind", "method", "request_", "responses"), KINDS)
async def test_metadata_code_and_details_come_through(
    kind: str,
    method: str,
    request_: Any,
    responses: list[bytes],
    backend: Callable[[], Backend],
    connect: Callable[..., Client],
) -> None:
    server = backend()
    client = connect(f"static:///{server.address}")
    call = client.start(kind, method, request_, timeout=20, metadata=(("k", "v"),))
    if kind.endswith("unary"):
        assert await call.response() == responses[0]
    else:
        assert [await call.read() for _ in range(len(responses) + 1)] == [*responses, None]
    assert (await call.initial())["initial"] == "1"
    assert (await call.trailing())["port"] == str(server.port)
    assert await call.code() is grpc.StatusCode.OK
    assert await call.details() == ""
    assert dict(server.received[0].metadata)["k"] == "v"


async def test_a_servers_error_comes_through(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    client = connect(f"static:///{server.address}")
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary(b"NOT_FOUND:nothing here", "Fail", timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "nothing here"


def refused(_requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


STREAMED = {"stream_unary": "ClientStream", "stream_stream": "Bidi"}


@pytest.mark.parametrize("kind", STREAMED)
async def test_a_servers_error_comes_through_though_requests_are_left(
    kind: str, fleet: Callable[..., testing.Backends], connect: Callable[..., Client]
) -> None:
    client = connect(fleet(1, serving(refused)).target)
    await client.ready()
    told = Counter[tuple[str, str]]()
    for _ in range(200):
        one = client.start(kind, STREAMED[kind], [b"a", b"b", b"c"], timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            await (one.response() if kind == "stream_unary" else one.read())
        told[code_of(caught.value).name, details_of(caught.value)] += 1
        told[(await one.code()).name, await one.details()] += 1
    assert told == {("PERMISSION_DENIED", "not you"): 400}


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_an_error_that_a_server_sent_is_never_taken_for_one_of_the_connections(
    code: str, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    servers = [backend(), backend()]
    client = connect(f"static:///{servers[0].address},{servers[1].address}")
    text = f"failed to connect to all addresses; last error: UNKNOWN: ipv4:{servers[0].address}: x"
    details = text if code == "UNAVAILABLE" else "CANCELLED"
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary(f"{code}:{details}".encode(), "Fail", timeout=20)
    assert caught.value.code() is grpc.StatusCode[code]
    assert sum(server.calls["Fail"] for server in servers) == 1


async def test_a_call_can_be_cancelled(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    client = connect(f"static:///{server.address}")
    call = client.start("unary_unary", "Hold", b"x", timeout=20)
    await asyncio.to_thread(server.await_entered)
    done = threading.Event()
    call.call.add_done_callback(lambda _: done.set())
    assert not call.call.done()
    assert call.call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert await asyncio.to_thread(done.wait, 20)
    assert call.call.cancelled()
    assert call.call.done()
    assert not call.call.cancel()


async def test_a_call_that_waits_can_be_cancelled(
    balancer: Balancer, connect: Callable[..., Client]
) -> None:
    call = connect(balancer).start("unary_unary", "Unary", b"x", timeout=20)
    done = threading.Event()
    call.call.add_done_callback(lambda _: done.set())
    await asyncio.to_thread(balancer.await_requests, 1)
    assert not call.call.done()
    assert call.call.cancel()
    assert done.is_set()
    assert call.call.cancelled()
    assert await call.code() is grpc.StatusCode.CANCELLED
    with pytest.raises((grpc.FutureCancelledError, asyncio.CancelledError)):
        await call.response()


@pytest.mark.parametrize(("kind", "method", "request_"), [kind[:3] for kind in KINDS])
async def test_a_wait_for_a_backend_is_bounded_by_the_deadline(
    kind: str, method: str, request_: Any, balancer: Balancer, connect: Callable[..., Client]
) -> None:
    client = connect(balancer)
    with pytest.raises(grpc.RpcError) as caught:
        await client.collect(kind, method, request_, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert f"lookaside://{balancer.address}/greeter.shop" in str(caught.value.details())
    assert "the first list of backends" in str(caught.value.details())


async def test_what_remains_of_the_timeout_bounds_the_rpc_after_the_wait(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    server = backend()
    client = connect(balancer)
    call = client.start("unary_unary", "Hold", b"x", timeout=1)
    await asyncio.to_thread(balancer.await_requests, 1)
    balancer.say([server.address])
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.calls["Hold"] == 1


async def test_compression_and_call_credentials_are_passed_on(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    client = connect(f"static:///{server.address}", compression=grpc.Compression.Gzip)
    await client.unary(b"x" * 1000, timeout=20, compression=grpc.Compression.Deflate)
    assert server.calls["Unary"] == 1


async def test_service_config_bounds_and_waits(
    balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.say(state="STATE_ABSENT")
    config = {"methodConfig": [{"name": [{}], "timeout": "0.05s", "waitForReady": True}]}
    client = connect(balancer, service_config=config)
    client.channel.resolve_now()
    await eventually(lambda: snapshot(client).list_state is not None and snapshot(client).settled)
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert str(caught.value.details()).endswith(
        "/greeter.shop: the deadline passed: the balancer says that there is no such service"
    )
