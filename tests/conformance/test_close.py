"""Nothing outlives its channel."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.clients import Client
from tests.conformance.servers import BOUND, Backend, Balancer


def sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def settles(measure: Callable[[], object], value: object) -> bool:
    """Whether a measure comes to a value: sockets are closed by C-core's own threads."""
    until = time.monotonic() + BOUND
    while measure() != value and time.monotonic() < until:
        time.sleep(0.005)
    return measure() == value


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("lookaside")]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets in /proc")
async def test_close_leaves_no_thread_task_socket_or_watch(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    # grpc.aio opens sockets of its own for a loop's first RPC, and keeps them.
    async with grpc.aio.insecure_channel(servers[0].address) as plain:
        await EchoStub(plain).Unary(Message())
    del plain
    gc.collect()
    balancer.say([server.address for server in servers])
    tasks, before = asyncio.all_tasks(), sockets()
    client = connect(balancer)
    await client.ports(6)
    held = client.start("unary_unary", "Hold", b"x", timeout=20)
    began = time.monotonic()
    await client.close()
    client.drop()
    assert time.monotonic() - began < 5
    assert await held.code() is grpc.StatusCode.CANCELLED
    for server in servers:
        server.release()
    await asyncio.to_thread(balancer.await_watches, 0)
    assert ours() == []
    # The loop's last round ends the tasks that were told to.
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= tasks
    # As with grpc's own channels, a call that is still referred to keeps its socket.
    del held, client
    gc.collect()
    assert await asyncio.to_thread(settles, lambda: sockets() <= before, True)


async def test_close_ends_the_rpcs_that_wait(
    balancer: Balancer, connect: Callable[..., Client]
) -> None:
    client = connect(balancer)
    call = client.start("unary_unary", "Unary", b"x", timeout=20)
    await asyncio.to_thread(balancer.await_requests, 1)
    await client.close()
    assert await call.code() is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("config", [None, {"loadBalancingPolicy": "peak_ewma"}])
@pytest.mark.parametrize("used", [False, True])
async def test_a_closed_channel_takes_no_rpc_and_can_be_closed_again(
    used: bool,
    config: dict[str, str] | None,
    backend: Callable[[], Backend],
    connect: Callable[..., Client],
) -> None:
    client = connect(f"static:///{backend().address}", service_config=config)
    if used:
        await client.unary(timeout=20)
    await client.close()
    await client.close()
    for kind, method in [("unary_unary", "Unary"), ("stream_stream", "Bidi")]:
        with pytest.raises((ValueError, grpc.aio.UsageError), match="closed"):
            client.start(kind, method, [b"x"] if kind.startswith("stream") else b"x")
    with pytest.raises((ValueError, grpc.aio.UsageError), match="closed"):
        await client.unary()


async def test_nobody_waits_for_the_state_of_a_closed_channel(
    shell: str, balancer: Balancer, connect: Callable[..., Client]
) -> None:
    if shell == "sync":
        pytest.skip("grpc's sync channels can't be waited for")
    channel = connect(balancer).channel
    waiting = asyncio.create_task(channel.channel_ready())
    await asyncio.to_thread(balancer.await_watches, 1)
    await channel.close()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await waiting
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await channel.channel_ready()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await channel.wait_for_state_change(grpc.ChannelConnectivity.SHUTDOWN)


async def test_a_channel_that_was_never_used_starts_nothing(
    balancer: Balancer, connect: Callable[..., Client]
) -> None:
    client = connect(balancer)
    assert client.stub
    assert ours() == []
    await client.close()
    assert balancer.requests == []


async def test_channels_are_context_managers_and_of_grpcs_classes(
    shell: str, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    channel: Any = connect(f"static:///{backend().address}").channel
    unary: Any = EchoStub(channel).Unary
    if shell == "sync":
        assert isinstance(channel, grpc.Channel)
        with channel:
            assert await asyncio.to_thread(unary, Message()) == Message()
    else:
        assert isinstance(channel, grpc.aio.Channel)
        async with channel:
            assert await unary(Message()) == Message()
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_a_grace_lets_rpcs_end(
    shell: str, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    if shell == "sync":
        pytest.skip("grpc.Channel.close has no grace")
    server = backend()
    client = connect(f"static:///{server.address}")
    call = client.start("unary_unary", "Hold", b"x", timeout=20)
    await asyncio.to_thread(server.await_entered)
    closing = asyncio.create_task(client.channel.close(20))
    await asyncio.sleep(0)
    server.release()
    await closing
    assert await call.response() == b"x"


async def test_a_sync_channel_that_is_dropped_ends_its_threads(
    shell: str, backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    if shell == "aio":
        pytest.skip("an aio channel's tasks end with its loop")
    channel = client_resolver.insecure_channel(f"static:///{backend().address}")
    call: Any = EchoStub(channel).Unary
    del channel
    assert await asyncio.to_thread(call, Message(), timeout=20) == Message()
    del call
    gc.collect()
    assert await asyncio.to_thread(settles, ours, [])


# A fork may break the attempt to connect that is under way, so the RPCs wait for the next one.
FORK = """
import os, sys
import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance._pb.echo_pb2_grpc import EchoStub
channel = client_resolver.insecure_channel("static:///" + sys.argv[1])
call = EchoStub(channel).Unary
if sys.argv[2] == "used":
    assert call(Message(), timeout=20, wait_for_ready=True) == Message()
pid = os.fork()
if pid == 0:
    ok = call(Message(), timeout=20, wait_for_ready=True) == Message()
    os._exit(0 if ok else 1)
status = os.waitpid(pid, 0)[1]
assert call(Message(), timeout=20, wait_for_ready=True) == Message()
channel.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("used", ["used", "unused"])
def test_a_sync_channel_works_on_both_sides_of_a_fork(
    used: str, backend: Callable[[], Backend]
) -> None:
    environ = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "1"}
    subprocess.run(
        [sys.executable, "-c", FORK, backend().address, used],
        check=True,
        timeout=60,
        env=environ,
        cwd=Path(__file__).parents[2],
    )
