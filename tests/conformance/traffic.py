"""RPCs of every kind, several at a time, and the figures of what became of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from itertools import cycle, islice
from typing import Self

import grpc

from tests.conformance.clients import Client
from tests.conformance.fleet import KINDS, TIMEOUT, code_of, details_of


class Traffic:
    """Makes RPCs for as long as it is entered.

    Args:
        clients: Which make them, in turn.
        kinds: Of which kinds, in turn.
        workers: How many at once.
        timeout: Seconds that each has.
        pause: Seconds between two of a worker's.

    Attributes:
        done: How many have ended.
        failed: Those of them that failed, by kind and text.
        seconds: How long each took.
    """

    def __init__(
        self,
        *clients: Client,
        kinds: Iterable[str] = KINDS,
        workers: int = 4,
        timeout: float = TIMEOUT,
        pause: float = 0.0,
    ) -> None:
        loads = zip(cycle(clients), cycle(kinds), strict=False)
        self._loads = list(islice(loads, workers))
        self._timeout = timeout
        self._pause = pause
        self._stopped = False
        self._progress = asyncio.Condition()
        self.done = 0
        self.failed: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work(*load)) for load in self._loads]
        await self.progress(len(self._loads))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _work(self, client: Client, kind: str) -> None:
        while not self._stopped:
            began = time.monotonic()
            try:
                assert await client.collect(kind, *KINDS[kind], timeout=self._timeout) == [b"x"]
            except grpc.RpcError as error:
                self.failed[f"{kind} {code_of(error)}: {details_of(error)}"] += 1
            self.seconds.append(time.monotonic() - began)
            async with self._progress:
                self.done += 1
                self._progress.notify_all()
            await asyncio.sleep(self._pause)

    async def progress(self, count: int = 50) -> None:
        """Wait until so many more RPCs have ended."""
        until = self.done + count
        async with asyncio.timeout(60), self._progress:
            await self._progress.wait_for(lambda: self.done >= until)

    def start_over(self) -> None:
        """Forget the figures so far."""
        self.done = 0
        self.failed.clear()
        self.seconds.clear()

    def __str__(self) -> str:
        ranked = sorted(self.seconds)
        p50, p99 = (ranked[int(len(ranked) * part)] * 1000 for part in (0.5, 0.99))
        failed = sum(self.failed.values())
        return f"{self.done} RPCs, {failed} failed, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
