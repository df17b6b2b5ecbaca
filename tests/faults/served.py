"""The whole service in a process of its own, over one service of some length, to be attacked."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop
from msgspec import Struct, json

from lookaside import logging
from lookaside.admin.connections import ConnectionBounds
from lookaside.api.calls import Bounds, StreamBounds
from lookaside.app import App
from lookaside.config import Listen, Settings, SourceSetting

SECONDS = 100.0
BOUNDS = Bounds(handshake=1.0, health=StreamBounds(400, 300))
ADMIN_BOUNDS = ConnectionBounds(most=40, patience=1.0)


class Ports(Struct, frozen=True):
    """Where it listens."""

    grpc: int
    admin: int


class Subject:
    """The process, as its parent sees it.

    Attributes:
        ports: Where it listens.
    """

    def __init__(self, process: asyncio.subprocess.Process, ports: Ports) -> None:
        self.ports = ports
        self._process = process

    def memory(self) -> float:
        """Return its resident memory, in MiB."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096 / 2**20

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    async def end(self) -> tuple[int, str]:
        """Have it stop by SIGTERM; return its exit status and its log."""
        self._process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(self._process.communicate(), SECONDS)
        assert self._process.returncode is not None
        return self._process.returncode, log.decode()


@asynccontextmanager
async def served(directory: Path, endpoints: int, **settings: float) -> AsyncIterator[Subject]:
    """Run it over one service, ``greeter``."""
    path = directory / "endpoints.yaml"
    lines = [f"      - address: 10.0.{n // 250}.{n % 250}:50061" for n in range(endpoints)]
    path.write_text("\n".join(["services:", "  greeter:", "    endpoints:", *lines]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.served", str(path)),
        json.encode(settings).decode(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
        subject = Subject(process, json.decode(line, type=Ports))
        await _ready(subject.ports.admin)
        yield subject
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(port: int) -> None:
    async with (
        asyncio.timeout(SECONDS),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        while True:
            async with session.get("/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.02)


async def _serve(path: str, settings: dict[str, float]) -> None:
    logging.configure("info", "json")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = App(
        Settings(
            sources=(SourceSetting("file", path),),
            listen=Listen("127.0.0.1", 0),
            admin=Listen("127.0.0.1", 0),
            **settings,  # type: ignore[arg-type]  # lengths of time alone
        ),
        bounds=BOUNDS,
        admin_bounds=ADMIN_BOUNDS,
    )
    async with app:
        print(json.encode(Ports(app.grpc_port, app.admin_port or 0)).decode(), flush=True)
        await app.run(stop)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1], json.decode(sys.argv[2], type=dict[str, float])))
