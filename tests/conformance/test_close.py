"""Nothing outlives its channel."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.clients import Client
from tests.conformance.servers import BOUND, Backend, Balancer


def sockets(ports: Collection[int]) -> int:
    """Count the sockets of this process that are connected to these ports, from the client's side.

    Other tests of this process have sockets too.
    """
    own = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            own.add(str(entry.readlink()))
    found = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            remote, inode = fields[2], fields[9]
            found += int(remote.rpartition(":")[2], 16) in ports and f"socket:[{inode}]" in own
    return found


def settles(measure: Callable[[], object], value: object) -> bool:
    """Whether a measure comes to a value: sockets are closed by C-core's own threads."""
    until = time.monotonic() + BOUND
    while measure() != value and time.monotonic() < until:
        time.sleep(0.005)
    return measure() == value


class PassingOn(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(client_call_details, request)


def alone(script: str, *arguments: str, **environ: str) -> None:
    """Run a script in a process of its own, and see that it succeeds."""
    subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environ},
    )


def ours() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("lookaside")]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets in /proc")
async def test_close_leaves_no_thread_task_socket_or_watch(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    balancer.say([server.address for server in servers])
    tasks, ports = asyncio.all_tasks(), {balancer.port, *(server.port for server in servers)}
    client = connect(balancer)
    await client.ports(6)
    assert sockets(ports) >= len(ports)
    held = client.start("unary_unary", "Hold", b"x", timeout=90)
    async with asyncio.timeout(60):
        await client.close()
    client.drop()
    assert await held.code() is grpc.StatusCode.CANCELLED
    for server in servers:
        server.release()
    await asyncio.to_thread(balancer.await_watches, 0)
    assert ours() == []
    await only(tasks)
    # As with grpc's own channels, a call that is still referred to keeps its socket.
    del held, client
    gc.collect()
    assert await asyncio.to_thread(settles, lambda: sockets(ports), 0)


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
        pytest.skip("see the test of aio channels below")
    channel = client_resolver.insecure_channel(f"static:///{backend().address}")
    call: Any = EchoStub(channel).Unary
    del channel
    assert await asyncio.to_thread(call, Message(), timeout=20) == Message()
    del call
    gc.collect()
    assert await asyncio.to_thread(settles, ours, [])


async def only(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until no other tasks run than these and this one."""
    async with asyncio.timeout(BOUND):
        while others := asyncio.all_tasks() - tasks:
            await asyncio.wait(others)


async def stays_open(channel: Any) -> Any:
    """Make a stub's multicallable, which works without the channel's variable."""
    call = EchoStub(channel).Unary
    del channel
    gc.collect()
    assert await call(Message(), timeout=20) == Message()
    return call


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"service_config": {"loadBalancingPolicy": "peak_ewma"}},
        {"snapshot_path": "list.json"},
        {"fallback": "static:///127.0.0.1:1", "drain_timeout": 5},
        {"interceptors": True},
    ],
)
@pytest.mark.parametrize("thread", [False, True])
async def test_aio_channels_that_are_dropped_end_their_watches_and_tasks(
    thread: bool,
    keywords: dict[str, Any],
    backend: Callable[[], Backend],
    balancer: Balancer,
    tmp_path: Path,
) -> None:
    if "snapshot_path" in keywords:
        keywords = {"snapshot_path": tmp_path / "list.json"}
    if "interceptors" in keywords:
        keywords = {"interceptors": [PassingOn()]}
    balancer.say([backend().address])
    target = f"lookaside://{balancer.address}/greeter.shop"
    tasks = asyncio.all_tasks()
    calls = [
        await stays_open(client_resolver.aio.insecure_channel(target, **keywords))
        for _ in range(10)
    ]
    await asyncio.to_thread(balancer.await_watches, 10)
    if thread:
        held = [calls]
        del calls
        await asyncio.to_thread(held.clear)
        await asyncio.to_thread(gc.collect)
    else:
        del calls
        gc.collect()
    await asyncio.to_thread(balancer.await_watches, 0)
    await only(tasks)


async def test_an_rpc_of_an_aio_channel_that_is_dropped_goes_on(
    backend: Callable[[], Backend], balancer: Balancer
) -> None:
    tasks, server = asyncio.all_tasks(), backend()
    channel: Any = client_resolver.aio.insecure_channel(
        f"lookaside://{balancer.address}/greeter.shop"
    )
    waiting = EchoStub(channel).Unary(Message(), timeout=20)
    await asyncio.to_thread(balancer.await_watches, 1)
    feed = EchoStub(channel).Feed(Message(), timeout=20)
    del channel
    gc.collect()
    balancer.say([server.address])
    assert await waiting == Message()
    assert await feed.read() == Message()
    server.release()
    assert await feed.read() == Message()
    assert await feed.read() is grpc.aio.EOF
    del waiting, feed
    gc.collect()
    await asyncio.to_thread(balancer.await_watches, 0)
    await only(tasks)


def test_an_aio_channel_is_dropped_after_its_loop_is_closed(backend: Callable[[], Backend]) -> None:
    alone(DROPPED, backend().address)


DROPPED = """
import asyncio, gc, sys
import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub

async def use():
    channel = client_resolver.aio.insecure_channel("static:///" + sys.argv[1])
    await EchoStub(channel).Unary(Message(), timeout=20)
    return channel

failures = []
sys.unraisablehook = failures.append
channel = asyncio.run(use())
del channel
gc.collect()
sys.exit(len(failures))
"""

LOOPS = """
import asyncio, sys
import client_resolver
from client_resolver.aio import connection
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub

told = []
# A busy machine may take longer than the quarter of a second that a close waits for grpc's word.
connection._END = 20.0

async def use(target, count):
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with client_resolver.aio.insecure_channel(target) as channel:
        await EchoStub(channel).Unary(Message(), timeout=20)

for count in range(30):
    asyncio.run(use(sys.argv[1], count))
for context in told:
    print(context, file=sys.stderr)
sys.exit(len(told))
"""


@pytest.mark.parametrize("watched", [True, False])
def test_a_closed_aio_channel_leaves_nothing_for_the_next_loop(
    watched: bool, backend: Callable[[], Backend], balancer: Balancer
) -> None:
    # In a process of its own: it has a loop after the other.
    addresses = [backend().address for _ in range(3)]
    balancer.say(addresses)
    lookaside = f"lookaside://{balancer.address}/greeter.shop"
    target = lookaside if watched else f"static:///{','.join(addresses)}"
    alone(LOOPS, target)


SECOND = """
import asyncio, sys
import client_resolver
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub

async def use(channel):
    return await EchoStub(channel).Unary(Message(), timeout=20)

async def wait(channel):
    await channel.channel_ready()

async def close(channel):
    await channel.close()

def refused(use):
    try:
        asyncio.run(use(channel))
    except RuntimeError as error:
        wanted = "belongs to the event loop that it was first used on, and that one is closed"
        return wanted in str(error) and "Make a channel for each loop" in str(error)
    return False

channel = client_resolver.aio.insecure_channel("static:///" + sys.argv[1])
assert asyncio.run(use(channel)) == Message()
assert refused(use)
assert refused(wait)
asyncio.run(close(channel))
assert channel.get_state().name == "SHUTDOWN"
"""


def test_an_aio_channel_that_is_used_on_a_second_loop_says_so(
    backend: Callable[[], Backend],
) -> None:
    alone(SECOND, backend().address)


async def test_an_aio_channel_is_not_closed_by_a_loop_beside_its_own(
    backend: Callable[[], Backend],
) -> None:
    channel: Any = client_resolver.aio.insecure_channel(f"static:///{backend().address}")
    call = EchoStub(channel).Unary
    assert await call(Message(), timeout=20) == Message()

    async def use() -> None:
        await call(Message(), timeout=20)

    for elsewhere in (use, channel.channel_ready, channel.close):
        with pytest.raises(RuntimeError, match="is not the one that runs"):
            await asyncio.to_thread(asyncio.run, elsewhere())
    assert await call(Message(), timeout=20) == Message()
    await channel.close()


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
    alone(FORK, backend().address, used, GRPC_ENABLE_FORK_SUPPORT="1")
