"""The process that calls: it measures every subject of one shell and prints a table."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.overhead.subjects import CONTROL, PLAIN, SIDECAR, subjects
from benchmarks.overhead.turns import AioTurns, SyncTurns, Turn, Turns

__all__ = ["SHELLS", "measure"]

SHELLS: Mapping[str, Callable[[], Turns]] = {"sync": SyncTurns, "aio": AioTurns}

_HEAD = ("p50 us", "of plain", "CPU us", "of plain", "with Envoy's")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def measure(
    shell: str, addresses: Sequence[str], port: int, envoy: int, options: argparse.Namespace
) -> None:
    """Measure and print, for each number of RPCs in flight.

    Args:
        shell: `sync` or `aio`.
        addresses: The backends, `IP:PORT`.
        port: Of Envoy's listener for them.
        envoy: Envoy's process id.
        options: The command line's.
    """
    found = subjects(shell, addresses, port)
    if options.only:
        found = {name: found[name] for name in found if name in {PLAIN, CONTROL, *options.only}}
    turns = SHELLS[shell]()
    for subject in found.values():
        turns.prepare(subject, len(addresses))
    for in_flight in options.in_flight:
        taken: dict[str, list[Turn]] = {name: [] for name in found}
        aside: list[float] = []
        # No subject may always come after the same other one.
        order = Random(in_flight)
        for _ in range(options.rounds):
            for name in order.sample(list(found), len(found)):
                before = _cpu(envoy)
                taken[name].append(turns.take(found[name], options.calls, in_flight))
                if name == SIDECAR:
                    aside.append((_cpu(envoy) - before) / options.calls)
        print(f"\n{shell}, {len(addresses)} backends, {in_flight} in flight")
        print(_table(taken, sum(aside) / len(aside) if aside else 0.0), flush=True)
    turns.close()


def _table(taken: Mapping[str, Sequence[Turn]], aside: float) -> str:
    width = max(map(len, taken))
    lines = ["  ".join([" " * width, *_HEAD])]
    for name, turns in taken.items():
        latency = [median(turn.latencies) for turn in turns]
        cpu = [turn.cpu for turn in turns]
        plain = taken[PLAIN]
        cells = [
            f"{1e6 * median(latency):.0f}",
            f"{_ratio(latency, [median(turn.latencies) for turn in plain]):.3f}",
            f"{1e6 * median(cpu):.0f}",
            f"{_ratio(cpu, [turn.cpu for turn in plain]):.3f}",
            f"{1e6 * (median(cpu) + aside):.0f}" if name == SIDECAR else "",
        ]
        padded = [cell.rjust(len(head)) for cell, head in zip(cells, _HEAD, strict=True)]
        lines.append("  ".join([name.ljust(width), *padded]).rstrip())
    return "\n".join(lines)


def _ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return median(one / other for one, other in zip(ones, others, strict=True))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK
