"""A child process whose lines on stdout are awaited as they come."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_END_TIMEOUT: Final = 20.0


class LineProcess:
    """Runs a program as a context manager and collects its lines on stdout.

    Args:
        argv: The program and its arguments.
        errors: The file that its stderr is written to.
        env: The environment; None: that of this process.
    """

    def __init__(
        self, argv: Sequence[str | Path], errors: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._argv = [str(arg) for arg in argv]
        self._errors = errors
        self._env = env
        self._heard = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        with self._errors.open("ab") as errors:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._env,
            )
        self._reader = threading.Thread(target=self._read, args=(self._child,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def terminate(self) -> int:
        """End the process with SIGTERM, if it runs still, and give its exit status."""
        assert self._child is not None
        assert self._reader is not None
        self._child.terminate()
        try:
            status = self._child.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        self._reader.join(_END_TIMEOUT)
        if self._child.stdout is not None:
            self._child.stdout.close()
        return status

    @property
    def lines(self) -> list[str]:
        """What was printed until now."""
        with self._heard:
            return list(self._lines)

    def wait(self, holds: Callable[[list[str]], bool], timeout: float = 30) -> list[str]:
        """Wait until the lines printed so far are as a test wants them, and give them.

        Raises:
            TimeoutError: They were not in time, or the process ended; with what was printed.
        """
        deadline = time.monotonic() + timeout
        with self._heard:
            while not holds(self._lines):
                left = deadline - time.monotonic()
                if left <= 0 or (self._ended and not holds(self._lines)):
                    said = "\n".join(self._lines)
                    errors = self._errors.read_text(errors="replace")
                    raise TimeoutError(f"not as wanted:\n{said}\nstderr:\n{errors}")
                self._heard.wait(left)
            return list(self._lines)

    def wait_for_documents(
        self, holds: Callable[[list[Any]], bool], timeout: float = 30
    ) -> list[Any]:
        """Wait until the lines, each a JSON document, are as a test wants them; one at least."""

        def hold(lines: list[str]) -> bool:
            return bool(lines) and holds([json.loads(line) for line in lines])

        lines = self.wait(hold, timeout)
        return [json.loads(line) for line in lines]

    def _read(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        for line in child.stdout:
            with self._heard:
                self._lines.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()
