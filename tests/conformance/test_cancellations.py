"""RPCs that are cancelled at random moments leave nothing behind."""

import asyncio
import gc
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import grpc
import pytest

from client_resolver.call.accounting import Rpc
from client_resolver.testing import Backends, eventually
from tests.conformance.clients import Call, Client
from tests.conformance.fleet import KINDS, TIMEOUT, connected, retrying, snapshot

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

CANCELLED = 1000
"""How many RPCs are cancelled with each config, by each shell: 4 000 in all."""
WAITING = 200
"""How many of them while no backend is there."""
AT_ONCE = 40
LONGEST = 0.01
"""Seconds, at most, between the start of an RPC and its cancellation."""

EVERYTHING: dict[str, object] = {
    **retrying(),
    "circuitBreaker": {"maxRequests": 1000, "maxPendingRequests": 1000, "maxRetries": 1000},
    "outlierDetection": {
        "consecutiveErrors": 5,
        "interval": "0.1s",
        "baseEjectionTime": "0.1s",
        "maxEjectionPercent": 50,
    },
}


def own_threads() -> set[threading.Thread]:
    """The threads that are neither of the servers nor of the event loop's pool."""
    others = ("client_resolver.testing", "asyncio_")
    return {one for one in threading.enumerate() if not one.name.startswith(others)}


def calls_alive() -> Counter[str]:
    """How many calls there are in this process, grpc's own among them, by type."""
    kinds = (grpc.Call, grpc.aio.Call, Rpc)
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if issubclass(type(one), kinds))


def counted(client: Client) -> tuple[int, ...]:
    """Everything that the channel counts for as long as an RPC is under way."""
    now = snapshot(client)
    counts = (now.breaker_requests, now.breaker_pending, now.breaker_retries, now.waiting_calls)
    return (*(backend.in_flight for backend in now.backends), *counts)


class Cancelling:
    """Makes RPCs of all kinds and cancels them, several at a time.

    Attributes:
        codes: How they ended.
        calls: Those that are still alive.
    """

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._aio = isinstance(client.channel, grpc.aio.Channel)
        self._rng = random.Random(seed)
        self.codes: Counter[str] = Counter()
        self.calls: WeakSet[Any] = WeakSet()

    async def run(self, count: int, **kwargs: Any) -> None:
        """Go on until so many more RPCs were cancelled."""
        until = self.codes["CANCELLED"] + count

        async def work(kinds: Iterable[str]) -> None:
            while True:
                for kind in kinds:
                    if self.codes["CANCELLED"] >= until:
                        return
                    self.codes[await self._cancelled(kind, **kwargs)] += 1

        await asyncio.gather(*(work(list(KINDS)) for _ in range(AT_ONCE)))

    async def _cancelled(self, kind: str, **kwargs: Any) -> str:
        rng = self._rng
        call = self._client.start(kind, *KINDS[kind], timeout=TIMEOUT, **kwargs)
        self.calls.add(call.call)
        waits = asyncio.create_task(_outcome(call, kind)) if rng.random() < 0.5 else None
        longest = rng.choice((0.0, LONGEST / 10, LONGEST))
        await asyncio.sleep(rng.uniform(0, longest))
        if waits is not None and self._aio and rng.random() < 0.5:
            waits.cancel()
            await asyncio.wait((waits,))
        # A task that is cancelled before its first step has never touched its call.
        call.call.cancel()
        code = await call.code()
        if waits is not None:
            await asyncio.wait((waits,))
            assert waits.cancelled() or isinstance(
                waits.exception(), grpc.RpcError | grpc.FutureCancelledError | None
            )
        return code.name


async def _outcome(call: Call, kind: str) -> None:
    if kind.endswith("unary"):
        await call.response()
    else:
        while await call.read() is not None:
            pass


@pytest.mark.parametrize("config", [None, EVERYTHING], ids=["plain", "everything"])
async def test_rpcs_cancelled_at_random_moments_leave_nothing_behind(
    config: dict[str, object] | None,
    fleet: Fleet,
    connect: Connect,
    figures: Callable[[object], None],
) -> None:
    backends = fleet(3)
    client = connect(backends.target, service_config=config)
    await connected(client, 3)
    tasks, threads, alive = asyncio.all_tasks(), own_threads(), calls_alive()
    at_rest = counted(client)
    assert not any(at_rest)
    backends[0].fail(share=0.3)
    for backend in backends:
        backend.hang(share=0.7)
    cancelling = Cancelling(client, seed=7)
    await cancelling.run(CANCELLED - WAITING)
    await eventually(lambda: not any(backend.in_flight for backend in backends))
    await asyncio.to_thread(backends.stop)
    await cancelling.run(WAITING, wait_for_ready=True)
    figures(dict(cancelling.codes))
    await eventually(lambda: counted(client) == at_rest)
    await eventually(lambda: not asyncio.all_tasks() - tasks)
    await eventually(lambda: not own_threads() - threads)
    await eventually(lambda: not calls_alive() - alive)
    assert not cancelling.calls
