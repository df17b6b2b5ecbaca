"""What one tenant's large Service costs another: ``python -m benchmarks.neighbours [TREE …]``.

The service runs as `lookaside serve` over an API server with a large Service, which many watch and
which is patched, and a small one of another tenant, who asks for it all the time. How long that
takes is printed, and how long `/livez` takes, which probes ask. Further checkouts of this project
take turns with this one.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import uvloop
from msgspec import Struct

from lookaside._pb import lookaside_pb2 as pb
from lookaside._pb.lookaside_pb2_grpc import LoadBalancerStub

_HEAD = ("tree", "case", "asked", "p50 ms", "p99 ms", "max ms", "livez p99", "livez max", "lists")
_DEADLINE = 30.0


class Case(Struct, frozen=True):
    """A large Service and who watches it.

    Attributes:
        name: What it is called.
        slices: How many slices of 1 000 endpoints it has.
        watches: How many watch it.
        subset: Of how many endpoints each gets a subset; 0: all.
        rate: Patches a second; 0: one every three seconds.
    """

    name: str
    slices: int
    watches: int
    subset: int
    rate: float


CASES = (Case("subsets", 10, 300, 20, 0), Case("rollout", 100, 20, 0, 17))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    parser.add_argument("trees", nargs="*", default=["."], help="checkouts, in turns (this one)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (20)")
    parser.add_argument("--rounds", type=int, default=1, help="of each tree and case (1)")
    options = parser.parse_args()
    print("  ".join(_HEAD), flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(options.rounds):
            for case in CASES:
                for tree in options.trees:
                    cells = runner.run(_measure(Path(tree).resolve(), case, options.seconds))
                    print("  ".join(cells), flush=True)


async def _measure(tree: Path, case: Case, seconds: float) -> list[str]:
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        cluster = await start(_process("benchmarks.neighbours.cluster", case.slices))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, admin = await start(_served(tree, directory, int(await _line(cluster))))
        counts = (port, case.watches, case.subset)
        watches = await start(_process("benchmarks.neighbours.watches", *counts))
        await _line(watches)
        channel = await start(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        session = await start(aiohttp.ClientSession(f"http://127.0.0.1:{admin}"))
        stub = LoadBalancerStub(channel)

        async def get_servers() -> None:
            request = pb.GetServersRequest(service_name="small.other")
            try:
                await stub.GetServers(request, timeout=_DEADLINE, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                # It counts as having taken as long as that.
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise

        async def livez() -> None:
            async with session.get("/livez") as response:
                response.raise_for_status()

        await get_servers()
        before = await _count(watches)
        end = time.monotonic() + seconds
        asked, lived, _ = await asyncio.gather(
            _ask(get_servers, end), _ask(livez, end), _patch(cluster, case, end)
        )
        told = (await _count(watches) - before) / case.watches
        cells = (
            f"{tree.name}",
            case.name,
            f"{len(asked)}",
            *(f"{value * 1e3:.1f}" for value in _quantiles(asked)),
            *(f"{value * 1e3:.1f}" for value in _quantiles(lived)[1:]),
            f"{told:.1f}",
        )
        return [cell.rjust(len(head)) for cell, head in zip(cells, _HEAD, strict=True)]


async def _ask(ask: Callable[[], Awaitable[None]], end: float) -> list[float]:
    """Ask again and again until then; return how many seconds each answer took."""
    took: list[float] = []
    while (began := time.monotonic()) < end:
        await ask()
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.02)
    return took


async def _patch(cluster: asyncio.subprocess.Process, case: Case, end: float) -> None:
    if case.rate:
        _tell(cluster, f"{case.rate}")
        return
    while time.monotonic() < end:
        _tell(cluster, "0")
        await asyncio.sleep(3)


def _quantiles(took: list[float]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the maximum."""
    found = sorted(took)
    return found[len(found) // 2], found[len(found) * 99 // 100], found[-1]


@asynccontextmanager
async def _served(tree: Path, directory: Path, cluster: int) -> AsyncIterator[tuple[int, int]]:
    """Run the service of a checkout until it is ready; return its ports."""
    kubeconfig = directory / "kubeconfig"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [context],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{cluster}"}}],
                "users": [{"name": "u", "user": {}}],
            }
        )
    )
    port, admin = _free_port(), _free_port()
    command = (
        *("lookaside", "serve", "--source", "kubernetes", "--kubeconfig", str(kubeconfig)),
        *("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"),
    )
    log = (directory / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stderr=log,
        stdout=log,
    )
    try:
        async with asyncio.timeout(_DEADLINE), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{admin}/readyz") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        yield port, admin
    finally:
        process.kill()
        await process.wait()
        log.close()


@asynccontextmanager
async def _process(module: str, *arguments: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


def _tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(2 * _DEADLINE):
        return (await process.stdout.readline()).decode()


async def _count(watches: asyncio.subprocess.Process) -> int:
    _tell(watches, "")
    return int(await _line(watches))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
