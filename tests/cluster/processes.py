"""Child processes that keep their output, say when they are ready and never outlive their owner."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_PAUSE = 0.05
_LOG_TAIL = 4000


class ProcessError(Exception):
    """A child process ended, or wasn't ready in time. The message ends with the end of its log."""


class ManagedProcess:
    """A program that can be started, stopped and started again; its output goes to one log.

    Args:
        name: What the process is called in errors, and the stem of its log file.
        argv: The program and its arguments.
        directory: Where the log, `NAME.log`, is written.
        env: Variables that are set in addition to those of this process.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        directory: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(arg) for arg in argv]
        self.log = directory / f"{name}.log"
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = f"pid {self._child.pid}" if self._child else "stopped"
        return f"<ManagedProcess {self.name}: {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the running process.

        Raises:
            ProcessError: It isn't running.
        """
        return self._running().pid

    def start(self) -> None:
        """Start the program, in a process group of its own.

        Raises:
            ProcessError: It is running already.
        """
        if self._child is not None:
            raise ProcessError(f"{self.name} is running already")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                process_group=0,
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._running().send_signal(number)

    def wait(self, timeout: float) -> int:
        """Wait until the process has ended by itself.

        Args:
            timeout: How long to wait, in seconds.

        Returns:
            Its exit status.

        Raises:
            ProcessError: It has not ended in time.
        """
        child = self._running()
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} still runs after {timeout} s\n{self.tail()}") from None
        self._child = None
        return status

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until the process is ready, and fail at once if it ends instead.

        Args:
            ready: Says whether it is ready; asked again and again.
            timeout: How long to wait, in seconds.

        Raises:
            ProcessError: The process ended, or was not ready in time.
        """
        child = self._running()
        deadline = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} not ready after {timeout} s\n{self.tail()}")
            try:
                status = child.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                continue
            raise ProcessError(f"{self.name} ended with status {status}\n{self.tail()}")

    def stop(self, timeout: float = 20) -> None:
        """End the process with SIGTERM, after `timeout` seconds with SIGKILL."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()

    def tail(self) -> str:
        """Give the end of the log."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:] if self.log.exists() else ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ProcessError(f"{self.name} isn't running")
        return self._child
