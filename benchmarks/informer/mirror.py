"""The process that is measured: a KubernetesSource that feeds a Store, as `lookaside serve` has.

Its owner tells it what to do by lines on the standard input; it says when it has.
"""

import asyncio
import ctypes
import gc
import sys
import time
from pathlib import Path

import uvloop

from lookaside import logging
from lookaside.api.wire import WireEncoder
from lookaside.app import spare_collector
from lookaside.metrics import Metrics
from lookaside.registry.store import Store
from lookaside.sources.kubernetes import Client, KubernetesSource, discover

_SOURCE = "kubernetes"


async def _mirror(kubeconfig: Path) -> None:
    metrics = Metrics("benchmark")
    store = Store(
        [_SOURCE],
        encoder=WireEncoder(),
        observer=metrics,
        clock=time.monotonic,
        synced=lambda _: _say("synced"),
    )
    feed = store.feeds[_SOURCE]
    client = Client(discover(kubeconfig, None))
    source = KubernetesSource(_SOURCE, feed, metrics, client)
    commands: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: commands.put_nowait(sys.stdin.readline().strip()))
    _say("ready")
    running: asyncio.Task[None] | None = None
    while command := await commands.get():
        match command:
            case "go":
                running = asyncio.create_task(source.run())
            case "count":
                _say(str(feed.endpoints))
            case "trim":
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                _say("trimmed")
            case _:
                raise ValueError(f"unknown command {command}")
    loop.remove_reader(sys.stdin)
    if running is not None:
        running.cancel()
        await asyncio.wait([running])


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    logging.configure("warning", "text")
    spare_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_mirror(Path(sys.argv[1])))
