"""How long a large service keeps the event loop from the rest: ``python -m benchmarks.turns``.

One endpoint of a long list is replaced, and every watcher receives that, without gRPC: the
list is made again, hashed and encoded, subsets are chosen, and each watcher takes its message.
Meanwhile the longest time between two turns of the loop is taken: nothing else can be done in it.
"""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from statistics import median

import uvloop

from lookaside.api.wire import WireEncoder
from lookaside.api.worker import LoopWorker
from lookaside.app import spare_collector
from lookaside.metrics import Metrics
from lookaside.model import Endpoint, Locality, ServiceKey, ServiceName, ServicePort, ServiceRecord
from lookaside.policy.view import View
from lookaside.registry.store import Store
from lookaside.registry.subscription import Subscription

KEY = ServiceKey("default", "large")
CASES = ((10_000, 300, 20), (10_000, 10_000, 0), (100_000, 20, 0))
_CHANGES = 7
_HEAD = ("endpoints", "watches", "subset", "CPU ms/change", "longest turn ms", "told ms")


def main() -> None:
    """Measure and print."""
    spare_collector()
    print("  ".join(_HEAD))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for case in CASES:
            row = runner.run(_measure(*case))
            print("  ".join(cell.rjust(len(head)) for cell, head in zip(row, _HEAD, strict=True)))


class _Gaps:
    """The longest time between two turns of the loop, in CPU time: others compute here too."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - before)


async def _measure(endpoints: int, watches: int, subset: int) -> Iterator[str]:
    store = Store(
        ["cluster"],
        encoder=WireEncoder(),
        observer=Metrics("benchmark"),
        clock=time.monotonic,
        synced=lambda _: None,
        worker=LoopWorker(),
    )
    feed = store.feeds["cluster"]
    known = [_endpoint(n) for n in range(endpoints)]
    feed.replace([_record(known)], version=1, epoch="e", at=0)
    taken = asyncio.Semaphore(0)
    subscriptions: list[Subscription] = []

    def take(index: int) -> None:
        subscriptions[index].take()
        subscriptions[index].written()
        taken.release()

    loop = asyncio.get_running_loop()

    def wake(index: int) -> None:
        # Each takes its message in a turn of the loop of its own, as a watch's task does.
        loop.call_soon(take, index)

    for index in range(watches):
        view = View(subset=subset, client=f"client-{index}" if subset else "")
        woken = partial(wake, index)
        subscriptions.append(store.subscribe(ServiceName(KEY), woken, view=view, deltas=True))
    for _ in range(watches):
        await taken.acquire()
    cpu, told, gaps = [], [], _Gaps()
    for change in range(_CHANGES):
        await asyncio.sleep(1.5)
        # One that every subset has or has not; those that have it are notified.
        known[change * 1_000] = _endpoint(endpoints + change)
        record = _record(known)
        watching = asyncio.create_task(gaps.watch())
        await asyncio.sleep(0)
        began, spent = time.perf_counter(), time.process_time()
        feed.update({KEY: record}, version=change + 2, at=time.monotonic())
        if subset:
            await _quiet(store)
        else:
            for _ in range(watches):
                await taken.acquire()
        told.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
        for _ in range(3):
            await asyncio.sleep(0)  # the last turn counts too
        watching.cancel()
    return iter(
        (
            *map(str, (endpoints, watches, subset)),
            f"{median(cpu) * 1e3:.0f}",
            f"{gaps.longest * 1e3:.1f}",
            f"{median(told) * 1e3:.0f}",
        )
    )


async def _quiet(store: Store) -> None:
    """Wait until the last watcher's subset has been looked at: a new one is notified after it."""
    told = asyncio.Event()
    last = store.subscribe(ServiceName(KEY), told.set)
    await told.wait()
    last.close()


def _record(known: list[Endpoint]) -> ServiceRecord:
    return ServiceRecord(KEY, (ServicePort("", 80),), {"": tuple(sorted(known))})


def _endpoint(number: int) -> Endpoint:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    metadata = (("node", f"node-{number % 500}"), ("pod", f"greeter-{number:06x}"))
    return Endpoint(address, 50051, 100, locality=Locality("eu-1a", "n"), metadata=metadata)


if __name__ == "__main__":
    main()
