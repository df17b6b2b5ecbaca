"""Runs the examples' programs."""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 100.0
_END_SECONDS = 100.0
_PAUSE_SECONDS = 0.05


class Program:
    """A program that runs while this context is open; SIGTERM ends it.

    Args:
        command: The program and its arguments.
        log: Where its output goes.
    """

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self._command = [str(part) for part in command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    def wait_for(self, pattern: str) -> str:
        """Wait until its output has a match, and return the match's first group."""
        return str(self._wait(lambda: re.search(pattern, self._log.read_text()))[1])

    def wait_for_round(self, good: Callable[[Mapping[str, int]], bool]) -> None:
        """Wait until a client of the examples tells of a round in which who answered is good."""

        def found() -> bool | None:
            rounds = re.split(r"(?m)^\d+ answers$", self._log.read_text())
            return any(good(table(one)) for one in rounds[1:]) or None

        self._wait(found)

    def wait_for_http(self, url: str) -> None:
        """Wait until it answers a request with success."""
        self._wait(lambda: _answers(url))

    def _wait(self, found: Callable[[], T | None]) -> T:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while (result := found()) is None:
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                raise AssertionError(f"status {ended}: {self._log.read_text()}")
            time.sleep(_PAUSE_SECONDS)
        return result


class Balancer:
    """The service, on an endpoints file.

    Args:
        folder: Where the file and the log go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()

    def serve(self, endpoints: str) -> str:
        """Serve what an endpoints file says; return the address."""
        file = self._folder / "endpoints.yaml"
        file.write_text(endpoints)
        flags = ["--source", f"file:{file}", "--listen", "127.0.0.1:0", "--admin", "off"]
        more = ["--log-format", "json", "--log-level", "info"]
        command = [sys.executable, "-m", "lookaside", "serve", *flags, *more]
        program = Program(command, self._folder / "lookaside.log")
        return "127.0.0.1:" + self._running.enter_context(program).wait_for(r'"port":(\d+)')

    def stop(self) -> None:
        """End the service."""
        self._running.close()


def answers(module: str, *arguments: str) -> Mapping[str, int]:
    """Run a client to its end; return who has answered how often."""
    return table(run(module, *arguments))


def run(module: str, *arguments: str) -> str:
    """Run a module of the examples to its end, which must be a good one; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, f"--timeout={_START_SECONDS:g}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=_START_SECONDS + _END_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table(text: str) -> Mapping[str, int]:
    """Read who has answered how often."""
    rows = re.findall(r"^  (\S+:\d+) +(\d+)$", text, re.MULTILINE)
    return {backend: int(number) for backend, number in rows}


def _answers(url: str) -> bool | None:
    """True once it does."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return True if answer.status == 200 else None
    except (urllib.error.URLError, OSError):
        return None
