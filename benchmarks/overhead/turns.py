"""One subject's turn: a number of RPCs, some of them at a time."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from benchmarks.overhead.backends import METHOD
from benchmarks.overhead.subjects import Subject

__all__ = ["AioTurns", "SyncTurns", "Turn", "Turns"]

_REQUEST = b"x" * 64


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took.

    Attributes:
        latencies: Of each RPC, in seconds.
        cpu: CPU time of this process per RPC, in seconds.
    """

    latencies: Sequence[float]
    cpu: float


class Turns(ABC):
    """Takes turns with the subjects of one shell."""

    @abstractmethod
    def prepare(self, subject: Subject, backends: int) -> None:
        """Make the subject's channel and connect it to as many backends."""

    @abstractmethod
    def take(self, subject: Subject, calls: int, in_flight: int) -> Turn:
        """Make `calls` RPCs, `in_flight` at a time."""

    @abstractmethod
    def close(self) -> None:
        """Close all channels."""


class SyncTurns(Turns):
    """Turns of the sync shell: a thread for each RPC in flight."""

    def __init__(self) -> None:
        self._channels: dict[Subject, tuple[grpc.Channel, Any]] = {}
        self._threads = ThreadPoolExecutor(64)

    def prepare(self, subject: Subject, backends: int) -> None:
        channel = subject()
        call = channel.unary_unary(METHOD)
        self._channels[subject] = channel, call
        for _ in range(20 * backends):
            call(_REQUEST, wait_for_ready=True)

    def take(self, subject: Subject, calls: int, in_flight: int) -> Turn:
        _, call = self._channels[subject]
        ready = threading.Barrier(in_flight)

        def one() -> list[float]:
            ready.wait()
            return [_timed(call) for _ in range(calls // in_flight)]

        cpu = time.process_time()
        if in_flight == 1:
            latencies = one()
        else:
            running = [self._threads.submit(one) for _ in range(in_flight)]
            latencies = [latency for each in running for latency in each.result()]
        return Turn(latencies, (time.process_time() - cpu) / len(latencies))

    def close(self) -> None:
        self._threads.shutdown()
        for channel, _ in self._channels.values():
            channel.close()


class AioTurns(Turns):
    """Turns of the aio shell, on a loop of asyncio's own: a task for each RPC in flight."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._channels: dict[Subject, tuple[grpc.aio.Channel, Any]] = {}

    def prepare(self, subject: Subject, backends: int) -> None:
        self._runner.run(self._prepare(subject, backends))

    async def _prepare(self, subject: Subject, backends: int) -> None:
        channel = subject()
        call = channel.unary_unary(METHOD)
        self._channels[subject] = channel, call
        for _ in range(20 * backends):
            await call(_REQUEST, wait_for_ready=True)

    def take(self, subject: Subject, calls: int, in_flight: int) -> Turn:
        return self._runner.run(self._take(subject, calls, in_flight))

    async def _take(self, subject: Subject, calls: int, in_flight: int) -> Turn:
        _, call = self._channels[subject]

        async def one() -> list[float]:
            latencies = []
            for _ in range(calls // in_flight):
                began = time.perf_counter()
                await call(_REQUEST)
                latencies.append(time.perf_counter() - began)
            return latencies

        cpu = time.process_time()
        each = await asyncio.gather(*(one() for _ in range(in_flight)))
        latencies = [latency for some in each for latency in some]
        return Turn(latencies, (time.process_time() - cpu) / len(latencies))

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _close(self) -> None:
        for channel, _ in self._channels.values():
            await channel.close()


def _timed(call: Callable[[bytes], object]) -> float:
    began = time.perf_counter()
    call(_REQUEST)
    return time.perf_counter() - began
