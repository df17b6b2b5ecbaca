"""The demo's processes: started, heard, ended."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from lookaside.demo.backend import GRACE_SECONDS
from lookaside.errors import LookasideError

_START_SECONDS = 30.0


class DemoError(LookasideError):
    """A process of the demo did not do what it should."""


@contextlib.asynccontextmanager
async def service(endpoints: Path) -> AsyncIterator[str]:
    """Run the service on an endpoints file; its address.

    Raises:
        DemoError: It did not start; the text is what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lookaside", "serve"),
        *("--source", f"file:{endpoints}", "--listen", "127.0.0.1:0", "--admin", "off"),
        *("--log-format", "json", "--log-level", "info"),
        stderr=asyncio.subprocess.PIPE,
    )
    async with _ending(process):
        port = 0
        synced = False
        said = []
        async for line in _lines(process.stderr):
            said.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            port = event.get("port", port)
            synced = synced or event.get("event") == "synced"
            if port and synced:
                break
        else:
            raise DemoError("the service did not start: " + "".join(said))
        drain = asyncio.create_task(_drain(process.stderr))
        try:
            yield f"127.0.0.1:{port}"
        finally:
            drain.cancel()


@contextlib.asynccontextmanager
async def backend() -> AsyncIterator[str]:
    """Run a greeter; its address.

    Raises:
        DemoError: It did not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lookaside.demo.backend", stdout=asyncio.subprocess.PIPE
    )
    async with _ending(process):
        async for line in _lines(process.stdout):
            yield line.strip()
            return
        raise DemoError("a backend did not start")


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    if stream is None:
        return
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(_START_SECONDS):
                line = await stream.readline()
            if not line:
                return
            yield line.decode()


async def _drain(stream: asyncio.StreamReader | None) -> None:
    """Read on, so that the process never waits for a full pipe."""
    while stream is not None and await stream.read(65536):
        pass


@contextlib.asynccontextmanager
async def _ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS + 5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
