"""What callers who have shown nothing can do to the service: a bounded amount, each time.

Bounds are wide for a machine that is busy, and far below what each attack did without limits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest
import pytest_asyncio

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub
from tests.faults import frames
from tests.faults.served import ADMIN_BOUNDS, BOUNDS, Subject, served

SECONDS = 100.0
MIB = 48.0
STREAMS = BOUNDS.streams_per_connection
GET, WATCH = "/lookaside.LoadBalancer/GetServers", "/lookaside.LoadBalancer/WatchServers"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
GREETER = b"\n\x07greeter"

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' /proc"),
    pytest.mark.asyncio(loop_scope="module"),
]


class Witness:
    """A good caller, who asks again and again while the service is attacked."""

    def __init__(self, subject: Subject) -> None:
        self.answers = 0
        self.memory = subject.memory()
        self.peak = self.memory
        self._subject = subject

    async def ask(self) -> None:
        """Ask until cancelled, each call within its deadline."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._subject.ports.grpc}") as channel:
            stub = LoadBalancerStub(channel)
            while True:
                request = pb.GetServersRequest(service_name="greeter")
                await stub.GetServers(request, timeout=SECONDS, wait_for_ready=True)
                self.answers += 1
                self.peak = max(self.peak, self._subject.memory())
                await asyncio.sleep(0.01)


@asynccontextmanager
async def witnessed(subject: Subject) -> AsyncIterator[Witness]:
    """Have a good caller answered all along, and memory bounded."""
    witness = Witness(subject)
    task = asyncio.create_task(witness.ask())
    try:
        await until(lambda: task.done() or witness.answers > 2)
        witness.memory = subject.memory()
        yield witness
        before = witness.answers
        async with asyncio.timeout(SECONDS):
            while not task.done() and witness.answers < before + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not task.done(), task.exception()
        assert witness.peak < witness.memory + MIB
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    async with served(tmp_path_factory.mktemp("attacked"), 1_000) as subject:
        yield subject


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def burst(
    connection: frames.Connection, method: str, count: int, *, then: bytes = b""
) -> None:
    """Begin calls on a connection, each followed by a frame of its stream of this kind."""
    for first in range(1, 2 * count, 400):
        sent = b""
        for stream in range(first, min(first + 400, 2 * count), 2):
            sent += frames.call(method, GREETER if "lookaside" in method else b"", stream)
            if then:
                sent += frames.frame(frames.RST_STREAM, then, stream=stream)
        if not await connection.send(sent):
            return


async def test_calls_that_are_reset_at_once_take_no_memory(subject: Subject) -> None:
    async with witnessed(subject), AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(frames.connected(subject.ports.grpc)) for _ in range(4)
        ]
        await asyncio.gather(*(burst(one, GET, 15_000, then=frames.CANCEL) for one in connections))


async def test_health_watches_are_bounded_by_connection_host_and_in_all(subject: Subject) -> None:
    async with witnessed(subject), AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(frames.connected(subject.ports.grpc)) for _ in range(2)
        ]
        await burst(connections[0], HEALTH_WATCH, 20_000)
        await until(lambda: connections[0].received.get(frames.DATA, 0) >= STREAMS)
        await until(lambda: connections[0].received.get(frames.RST_STREAM, 0) >= 20_000 - STREAMS)
        assert connections[0].received[frames.DATA] == STREAMS
        await burst(connections[1], HEALTH_WATCH, STREAMS)
        refused = STREAMS - (BOUNDS.health.per_host - STREAMS)
        await until(lambda: connections[1].received.get(frames.HEADERS, 0) >= STREAMS)
        text = await metrics(subject)
        assert f'lookaside_refused_streams_total{{bound="host",door="Health"}} {refused}.0' in text
        assert 'lookaside_clients{door="Health"} 2.0' in text


async def test_readers_who_take_nothing_hold_no_more_than_their_connection_s_share(
    tmp_path: Path,
) -> None:
    first = frames.PREFACE + frames.settings(_4=0)
    async with (
        served(tmp_path, 1_000, write_timeout=0.5, grace=600) as subject,
        frames.connected(subject.ports.grpc, first) as connection,
    ):
        async with witnessed(subject):
            await burst(connection, WATCH, 2_000)
            await until(lambda: connection.received.get(frames.HEADERS, 0) >= STREAMS)
            ended = f'{{code="DEADLINE_EXCEEDED",method="WatchServers"}} {STREAMS}.0'
            async with asyncio.timeout(SECONDS):
                while ended not in await metrics(subject):
                    pass
        # Nobody has read what they were told or how they ended, and the stop doesn't wait.
        status, log = await subject.end()
    assert status == 0
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "flood",
    [
        frames.frame(frames.PING, b"12345678"),
        frames.settings(_4=65535),
        frames.frame(frames.WINDOW_UPDATE, b"\0\0\0\1"),
    ],
    ids=["ping", "settings", "window"],
)
async def test_a_flood_of_small_frames_takes_no_memory(subject: Subject, flood: bytes) -> None:
    async with witnessed(subject), frames.connected(subject.ports.grpc) as connection:
        for _ in range(200):
            if not await connection.send(flood * 500, patience=1):
                break


async def test_a_header_without_end_is_cut_off(subject: Subject) -> None:
    block = frames.header("x-long", "a" * 15_000)
    async with witnessed(subject), frames.connected(subject.ports.grpc) as connection:
        await connection.send(frames.frame(frames.HEADERS, block, stream=1))
        for _ in range(100):
            more = frames.frame(frames.CONTINUATION, block, stream=1) * 10
            if not await connection.send(more, patience=1):
                break
        assert not connection.received.get(frames.DATA)


async def test_silent_connections_are_closed(subject: Subject) -> None:
    before = subject.descriptors()
    async with witnessed(subject), AsyncExitStack() as stack:
        for _ in range(3_000):
            await stack.enter_async_context(silent(subject.ports.grpc))
        await until(lambda: subject.descriptors() < before + 100)


@asynccontextmanager
async def silent(port: int) -> AsyncIterator[None]:
    """A connection that says nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield
    finally:
        writer.transport.abort()


async def metrics(subject: Subject) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{subject.ports.admin}/metrics") as response,
    ):
        return await response.text()


@pytest.mark.parametrize("head", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_slow_requests_take_neither_the_admin_port_nor_descriptors(
    subject: Subject, head: bytes
) -> None:
    before = subject.descriptors()
    async with witnessed(subject), AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(frames.connected(subject.ports.admin, head))
            for _ in range(500)
        ]
        assert "lookaside_clients" in await metrics(subject)
        await until(lambda: subject.descriptors() <= before + ADMIN_BOUNDS.most + 20)
        await until(lambda: all(one.ended.is_set() for one in connections))
