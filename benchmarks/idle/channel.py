"""The process of one channel: it has it connect, lets it be, and measures what it takes."""

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.idle.subjects import SUBJECTS

__all__ = ["Sample", "measure"]

_PROCESS = Path("/proc/self")
_ESTABLISHED = "01"
_WIDTH = len("0100007F:0050")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a channel took.

    Attributes:
        connected: Seconds until it had a connection to each backend.
        python_threads: How many threads of Python's it has brought.
        threads: How many threads it has brought in all, C-core's among them.
        cpu: The part of one core that the process took, in percent.
        memory: Resident memory that it has brought, in MiB.
    """

    connected: float
    python_threads: int
    threads: int
    cpu: float
    memory: float


def measure(name: str, backends: Sequence[str], settle: float, seconds: float) -> Sample:
    """Measure one subject.

    Args:
        name: The subject.
        backends: The backends, `IP:PORT`.
        settle: Seconds between its being connected and the measurement.
        seconds: How long that takes.
    """
    return asyncio.run(_measure(name, backends, settle, seconds))


async def _measure(name: str, backends: Sequence[str], settle: float, seconds: float) -> Sample:
    # What the first channel of a process brings, whatever it is, is none of this one's.
    async with SUBJECTS[name](backends[:1]):
        pass
    own, threads, memory = threading.active_count(), _threads(), _memory()
    began = time.monotonic()
    async with SUBJECTS[name](backends):
        while not _peers().issuperset(map(_encoded, backends)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        connected = time.monotonic() - began
        await asyncio.sleep(settle)
        cpu, since = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        return Sample(
            connected,
            threading.active_count() - own,
            _threads() - threads,
            100 * (time.process_time() - cpu) / (time.monotonic() - since),
            _memory() - memory,
        )


def _threads() -> int:
    return sum(1 for _ in (_PROCESS / "task").iterdir())


def _memory() -> float:
    pages = int((_PROCESS / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _peers() -> set[str]:
    """Return where the machine's TCP connections go, as the kernel writes it."""
    # gRPC's sockets are those of IPv6, which end in the IPv4 address.
    tables = ((_PROCESS / "net" / name).read_text() for name in ("tcp", "tcp6"))
    rows = [row.split() for table in tables for row in table.splitlines()]
    return {row[2][-_WIDTH:] for row in rows if row[3] == _ESTABLISHED}


def _encoded(address: str) -> str:
    host, _, port = address.rpartition(":")
    (number,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{number:08X}:{int(port):04X}"
