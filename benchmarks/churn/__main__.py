"""What a change costs, whole and as a delta: ``python -m benchmarks.churn``.

One process serves lists of several lengths as the service does; another holds many watches of each,
as many that take whole lists as that take deltas. A change replaces one endpoint of one slice, on
its whole way: cluster index, merge, store, gRPC. Whole and delta take turns.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

import uvloop
from msgspec import Struct

from benchmarks.churn.balancer import Balancer
from benchmarks.churn.client import MODES, Client, started

_SETTLED = 0.2
_HEAD = (
    *("endpoints", "sent as", "changes", "bytes/watch", "CPU ms/change", "CPU us/watch"),
    "last watch ms (p50)",
)


class Sample(Struct, frozen=True):
    """What one change cost.

    Attributes:
        sent: Bytes of messages to all watches.
        cpu: CPU time of the balancer, in seconds.
        last: Until the last watch had it, in seconds.
    """

    sent: int
    cpu: float
    last: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.churn", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 10_000])
    parser.add_argument("--watches", type=int, default=1_000, help="of each kind (1000)")
    parser.add_argument("--channels", type=int, default=16, help="that they share (16)")
    parser.add_argument("--changes", type=int, default=30, help="of each list, at most (30)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="after which a list is changed no more (30)"
    )
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        # All of them first: once gRPC has threads, it dislikes a fork.
        clients = {
            size: await stack.enter_async_context(started(options.watches, options.channels))
            for size in options.sizes
        }
        print("  ".join(_HEAD))
        for size, client in clients.items():
            samples = await _measure(size, client, options.changes, options.seconds)
            for mode in MODES:
                print(_row(size, mode, samples[mode], options.watches), flush=True)


async def _measure(
    size: int, client: Client, changes: int, seconds: float
) -> dict[str, list[Sample]]:
    balancer = Balancer(size, MODES)
    await balancer.server.start()
    await client.connect(balancer.server.port)
    samples: dict[str, list[Sample]] = {mode: [] for mode in MODES}
    end = time.monotonic() + seconds
    for turn, mode in itertools.product(range(changes), MODES):
        if turn and time.monotonic() > end:
            break
        await asyncio.sleep(_SETTLED)
        samples[mode].append(await _change(balancer, mode, client))
    await client.end()
    await balancer.server.stop(0)
    return samples


async def _change(balancer: Balancer, mode: str, client: Client) -> Sample:
    change = balancer.prepare(mode)
    began, cpu = time.monotonic(), time.process_time()
    change()
    report = await client.report()
    if report.mode != mode:
        raise RuntimeError(f"{mode} was changed, and {report.mode} reported it")
    return Sample(report.received, time.process_time() - cpu, report.at - began)


def _row(size: int, mode: str, samples: Sequence[Sample], watches: int) -> str:
    cpu = median(sample.cpu for sample in samples)
    cells = (
        f"{size}",
        mode,
        f"{len(samples)}",
        f"{median(sample.sent for sample in samples) / watches:.0f}",
        f"{cpu * 1e3:.1f}",
        f"{cpu / watches * 1e6:.1f}",
        f"{median(sample.last for sample in samples) * 1e3:.1f}",
    )
    return "  ".join(cell.rjust(len(head)) for cell, head in zip(cells, _HEAD, strict=True))


if __name__ == "__main__":
    main()
