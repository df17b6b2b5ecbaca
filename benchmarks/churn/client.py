"""A process that holds many watches and tells when all of them have a change."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import msgspec
import uvloop
from google.protobuf.message import Message
from msgspec import Struct

from lookaside._pb import lookaside_pb2 as pb

MODES = ("whole", "delta")

_METHOD = "/lookaside.LoadBalancer/WatchServers"


class Report(Struct, frozen=True):
    """Every watch of one kind has got a message.

    Attributes:
        mode: Which kind.
        at: When the last one got it, in seconds of the machine's monotonic clock.
        received: How many bytes of messages they got.
    """

    mode: str
    at: float
    received: int


class Client:
    """The process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def connect(self, port: int) -> None:
        """Have every watch opened, and wait until all have their first lists."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{port}\n".encode())
        for _ in MODES:
            await self.report()

    async def report(self) -> Report:
        """Wait until every watch of one kind has got a message."""
        assert self._process.stdout is not None
        return msgspec.json.decode(await self._process.stdout.readline(), type=Report)

    async def end(self) -> None:
        """End the process, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def started(watches: int, channels: int) -> AsyncIterator[Client]:
    """Start the process.

    Args:
        watches: How many it is to hold of each kind.
        channels: How many connections they share.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.churn.client", str(watches), str(channels)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    client = Client(process)
    try:
        yield client
    finally:
        await client.end()


class _Kind:
    """The watches of one kind."""

    def __init__(self, mode: str, watches: int) -> None:
        self._mode = mode
        self._watches = self._pending = watches
        self._received = 0

    async def watch(self, channel: grpc.aio.Channel) -> None:
        request = pb.WatchServersRequest(service_name=self._mode, deltas=self._mode == "delta")
        call: grpc.aio.UnaryStreamCall[Message, bytes] = channel.unary_stream(
            _METHOD, pb.WatchServersRequest.SerializeToString, bytes
        )(request)
        async for message in call:
            self._count(len(message))

    def _count(self, size: int) -> None:
        self._received += size
        self._pending -= 1
        if not self._pending:
            report = Report(self._mode, time.monotonic(), self._received)
            print(msgspec.json.encode(report).decode(), flush=True)
            self._pending, self._received = self._watches, 0


async def _run(watches: int, channels: int) -> None:
    port = await asyncio.to_thread(sys.stdin.readline)
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(
                    f"127.0.0.1:{port.strip()}", options=[("grpc.use_local_subchannel_pool", 1)]
                )
            )
            for _ in range(channels)
        ]
        kinds = [_Kind(mode, watches) for mode in MODES]
        await asyncio.gather(
            *(kind.watch(opened[n % channels]) for kind in kinds for n in range(watches))
        )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(*map(int, sys.argv[1:])))
