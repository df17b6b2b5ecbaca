"""Fills an API server, and lets every subject sync with it and follow it, in turns."""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.informer.subject import Figures, Subject, cpu_time, settle
from benchmarks.informer.table import table
from tests.cluster.harness import Binaries, ControlPlane, Settings
from tests.cluster.processes import ProcessError

ENDPOINTS_PER_SLICE: Final = 10
_LOG: Final = "subjects.log"
_SETTLED: Final = 2.0


class Plan(Struct, frozen=True):
    """What is measured.

    Attributes:
        sizes: How many EndpointSlices there are, ascending.
        rounds: How often each subject is measured at each size.
        events: How many updates a burst has.
    """

    sizes: tuple[int, ...]
    rounds: int
    events: int


def run(plan: Plan, folder: Path) -> None:
    """Print a table for each size.

    Args:
        plan: What is measured.
        folder: Where the programs are.

    Raises:
        ProcessError: A process failed, or a subject has not what the API server has.
    """
    print(_machine(folder / "clientgo"), flush=True)
    with tempfile.TemporaryDirectory(prefix="informer-benchmark-") as scratch:
        directory = Path(scratch)
        settings = Settings(controllers=("namespace-controller",))
        with ControlPlane(Binaries.in_directory(folder), directory, settings) as plane:
            plane.controllers.stop()
            loaded = 0
            for size in plan.sizes:
                bench = _Bench(plane, directory, folder / "clientgo", size)
                bench.load(loaded)
                loaded = size
                figures = bench.measure(plan.rounds, plan.events)
                print(f"\n{table(size, figures)}", flush=True)
            if said := (directory / _LOG).read_text():
                print(f"\nThe subjects said:\n{said}", file=sys.stderr)


class _Bench:
    """One API server with a number of slices, and the subjects."""

    def __init__(self, plane: ControlPlane, directory: Path, clientgo: Path, size: int) -> None:
        self._plane = plane
        self._log = directory / _LOG
        self._clientgo = str(clientgo)
        self._size = size
        self._flipped = False
        kubeconfig = f"-kubeconfig={plane.kubeconfig}"
        informer = [self._clientgo, "informer", kubeconfig]
        self._subjects = {
            "lookaside": [
                sys.executable,
                "-m",
                "benchmarks.informer.mirror",
                str(plane.kubeconfig),
            ],
            "client-go, JSON": informer,
            "client-go, protobuf": [*informer, "-protobuf"],
        }

    def load(self, first: int) -> None:
        """Create the slices from this one on."""
        began = time.monotonic()
        self._run("load", f"-from={first}", f"-to={self._size}")
        seconds = time.monotonic() - began
        print(f"\ncreated {self._size - first} slices in {seconds:.0f} s", flush=True)

    def measure(self, rounds: int, events: int) -> dict[str, list[Figures]]:
        """Measure the subjects in turns, each turn beginning with another one."""
        names = list(self._subjects)
        figures: dict[str, list[Figures]] = {name: [] for name in names}
        for number in range(rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                settle(self._plane.apiserver.pid, self._plane.etcd.pid)
                figures[name].append(self._measure(self._subjects[name], events))
        if self._flipped:
            self._flip(events)
        return figures

    def _measure(self, argv: Sequence[str], events: int) -> Figures:
        with Subject(argv, self._log) as subject:
            settle(subject.pid)
            server = self._plane.apiserver.pid
            base, idle, served = subject.resident(), subject.cpu(), cpu_time(server)
            sync = subject.sync()
            sync_cpu, server_cpu = subject.cpu() - idle, cpu_time(server) - served
            time.sleep(_SETTLED)
            settle(subject.pid)
            kept, peak, before = subject.resident(), subject.peak(), subject.cpu()
            self._flip(events)
            settle(subject.pid)
            event_cpu = (subject.cpu() - before) / events * 1e6
            self._check(subject, events)
            subject.trim()
            trimmed = subject.resident()
            return Figures(
                start=subject.start,
                sync=sync,
                sync_cpu=sync_cpu,
                server_cpu=server_cpu,
                base=base,
                peak=peak,
                kept=kept,
                event_cpu=event_cpu,
                trimmed=trimmed,
            )

    def _flip(self, events: int) -> None:
        """Make some ready endpoints unready, or ready again."""
        ready = str(self._flipped).lower()
        self._run("update", f"-count={events}", f"-slices={self._size}", f"-ready={ready}")
        self._flipped = not self._flipped

    def _check(self, subject: Subject, events: int) -> None:
        expected = self._size * ENDPOINTS_PER_SLICE - self._flipped * events
        if (found := subject.count()) != expected:
            raise ProcessError(f"a subject has {found} ready endpoints instead of {expected}")

    def _run(self, command: str, *flags: str) -> None:
        argv = [self._clientgo, command, f"-kubeconfig={self._plane.kubeconfig}", *flags]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ProcessError(f"{command} failed: {done.stderr.strip()}")


def _machine(clientgo: Path) -> str:
    said = subprocess.run(
        [clientgo, "version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return f"{cores} cores, load {load:.1f}; Python {platform.python_version()}; {said}"
