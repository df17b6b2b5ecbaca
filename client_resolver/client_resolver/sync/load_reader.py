"""Reads the backends' load reports out of band (gRFC A51), on one thread for a whole channel.

grpc's synchronous streams pin a thread each while they are waited for, which a channel of hundreds
of backends can't have. So no stream is held: once in each reporting period, a stream to every
backend that is ready is begun on the backend's own connection and ended after its first report,
which servers send at once. Some are begun together, so that a backend that is slow to answer holds
up the others once and not each of them.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from random import Random
from time import monotonic
from typing import Protocol

import grpc

from client_resolver.call.load_report import LOAD_STREAM, load_report, load_request
from client_resolver.config.settings import Settings
from client_resolver.core.backoff import FullJitter
from client_resolver.core.load import LoadReport
from client_resolver.sync.connection import Backend, Connection
from client_resolver.telemetry.log import reportless

__all__ = ["LoadReader", "Source"]

_TOGETHER = 16
"""Maximum number of concurrent streams."""
_WAIT = 2.0
"""Seconds that a backend has for its report."""


class Stream(Protocol):
    """grpc's call, as far as it is needed here."""

    def __next__(self) -> bytes:
        """Wait for a response."""

    def cancel(self) -> bool:
        """End it."""


class Source(Protocol):
    """Says whom to ask. Called on the reader's thread."""

    def reporting(self) -> tuple[float | None, Sequence[tuple[Backend, Connection]]]:
        """Return the reporting period in seconds, None for the end, and whom to ask."""

    def loaded(self, backend: Backend, report: LoadReport) -> None:
        """A load report came."""


@dataclass(slots=True)
class _Asked:
    """The state of one connection.

    Attributes:
        due: When to ask again, on the monotonic clock. inf: never.
        backoff: Draws the pause after a failure.
    """

    due: float
    backoff: FullJitter


class LoadReader:
    """The thread. It ends with its source's period, and starts again with another.

    Args:
        settings: The channel's settings.
        source: Says whom to ask.
    """

    def __init__(self, settings: Settings, source: Source) -> None:
        self._settings = settings
        self._source = source
        # Its `put` may be called whatever this thread was interrupted in: an event's `set` may not.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asked: dict[Connection, _Asked] = {}
        self._rng = Random()  # noqa: S311
        self._told = False
        self._closed = False
        self._calls: list[Stream] = []

    def arrange(self, period: float | None) -> None:
        """Read from now on, or look at once whether there is anything to read. Never waits."""
        if self._thread is not None:
            self._wake.put(None)
        elif period is not None and not self._closed:
            self._thread = threading.Thread(
                target=self._run, name="lookaside-load-reports", daemon=True
            )
            self._thread.start()

    def close(self, timeout: float) -> None:
        """End the thread and its calls. Waits for it, `timeout` seconds at most."""
        self._closed = True
        self._wake.put(None)
        for call in list(self._calls):
            call.cancel()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while not self._closed:
            period, backends = self._source.reporting()
            now = monotonic()
            present = {connection for _, connection in backends}
            self._asked = {one: asked for one, asked in self._asked.items() if one in present}
            due = [pair for pair in backends if self._of(pair[1]).due <= now]
            for start in range(0, len(due), _TOGETHER):
                self._ask(due[start : start + _TOGETHER], period)
            times = [self._of(connection).due for _, connection in backends]
            pause = min(times, default=now + 3600) - monotonic()
            with suppress(Empty):
                self._wake.get(timeout=min(3600.0, max(0.001, pause)))

    def _of(self, connection: Connection) -> _Asked:
        asked = self._asked.get(connection)
        if asked is None:
            asked = self._asked[connection] = _Asked(0.0, FullJitter(1.0, 120.0, self._rng))
        return asked

    def _ask(self, pairs: Sequence[tuple[Backend, Connection]], period: float | None) -> None:
        if period is None or self._closed:
            return
        begun = []
        for backend, connection in pairs:
            asked = self._of(connection)
            asked.due = monotonic() + period
            try:
                stream: Callable[..., Stream] = connection.channel.unary_stream(LOAD_STREAM)
                call = stream(load_request(period), timeout=_WAIT)
            except ValueError:
                # The connection was closed at this very moment.
                continue
            self._calls.append(call)
            begun.append((backend, asked, call))
        for backend, asked, call in begun:
            self._first(backend, asked, call)
        self._calls.clear()

    def _first(self, backend: Backend, asked: _Asked, call: "Stream") -> None:
        """Wait for the first report of a stream, and end it."""
        report = None
        try:
            report = load_report(next(call), monotonic())
        except StopIteration:
            pass
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                asked.due = float("inf")
                self._tell(backend)
                return
        finally:
            call.cancel()
        if report is None:
            asked.due = max(asked.due, monotonic() + asked.backoff.next())
        else:
            asked.backoff.reset()
            self._source.loaded(backend, report)

    def _tell(self, backend: Backend) -> None:
        if not self._told:
            self._told = True
            reportless(self._settings.target.text, backend)
