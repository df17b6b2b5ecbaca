"""A process that is measured from outside, by what the kernel knows of it."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from tests.cluster.processes import ProcessError

_MIB = 1024 * 1024
_STEP = 0.1
_QUIET_STEPS = 5
_LONGEST_UNREST = 20.0


class Figures(Struct, frozen=True):
    """What one subject did in one round.

    Attributes:
        start: From its start to its being ready to connect, in seconds.
        sync: From then to its having all, in seconds.
        sync_cpu: CPU time of that, user and system, in seconds.
        server_cpu: CPU time of the API server meanwhile, in seconds.
        base: Resident memory before it connected, in MiB.
        peak: The most that was resident until it had settled, in MiB.
        kept: What was resident once it had settled, in MiB.
        event_cpu: CPU time of one watch event, user and system, in microseconds.
        trimmed: What was resident after it gave back all that it could, in MiB.
    """

    start: float
    sync: float
    sync_cpu: float
    server_cpu: float
    base: float
    peak: float
    kept: float
    event_cpu: float
    trimmed: float


class Subject:
    """A program that obeys `go`, `count` and `trim`; see `mirror` and clientgo/informer.go.

    Args:
        argv: The program and its arguments.
        log: Where its standard error goes.
    """

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._argv = argv
        self._log = log

    def __enter__(self) -> Self:
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._expect("ready")
        self.start = time.monotonic() - began
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def sync(self) -> float:
        """Let it sync, and give how long that took, in seconds."""
        began = time.monotonic()
        self._tell("go")
        self._expect("synced")
        return time.monotonic() - began

    def count(self) -> int:
        """Ask how many ready endpoints it has."""
        self._tell("count")
        return int(self._line())

    def trim(self) -> None:
        """Let it give back the memory that it doesn't use."""
        self._tell("trim")
        self._expect("trimmed")

    def cpu(self) -> float:
        """Give the CPU time that it has used, in seconds."""
        return cpu_time(self.pid)

    def resident(self) -> float:
        """Give its resident memory, in MiB."""
        return self._memory("VmRSS")

    def peak(self) -> float:
        """Give the most memory that was ever resident, in MiB."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024 / _MIB

    def _tell(self, command: str) -> None:
        assert self._child.stdin is not None
        print(command, file=self._child.stdin, flush=True)

    def _expect(self, answer: str) -> None:
        line = self._line()
        if line != answer:
            raise ProcessError(f"{self._argv[0]} says {line!r}\n{self._log.read_text()[-2000:]}")

    def _line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()


def cpu_time(pid: int) -> float:
    """Give the CPU time of a process and all its threads so far, in seconds.

    The clock is that of clock_getcpuclockid(3), which Python doesn't have.
    """
    return time.clock_gettime((~pid << 3) | 2)


def settle(*pids: int) -> None:
    """Wait until some processes have used next to no CPU time for half a second, if they do."""
    deadline = time.monotonic() + _LONGEST_UNREST
    quiet, before = 0, sum(map(cpu_time, pids))
    while quiet < _QUIET_STEPS and time.monotonic() < deadline:
        time.sleep(_STEP)
        now = sum(map(cpu_time, pids))
        quiet = quiet + 1 if now - before < _STEP / 20 * len(pids) else 0
        before = now
