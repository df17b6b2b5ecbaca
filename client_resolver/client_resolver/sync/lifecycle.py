"""The life of a channel: its first use, its rounds, its end."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from client_resolver.config.settings import Settings
from client_resolver.core.channel_state import Outlook
from client_resolver.core.guard import Guard
from client_resolver.core.model import Connectivity
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.sync.connection import Handle
from client_resolver.sync.driver_thread import DriverThread
from client_resolver.sync.load_reader import LoadReader
from client_resolver.sync.machine_runner import MachineRunner
from client_resolver.sync.nesting import is_nested
from client_resolver.sync.resolution import Resolution
from client_resolver.sync.subscriptions import Subscriptions
from client_resolver.sync.waiting_calls import Pending, WaitingCalls
from client_resolver.sync.wakeups import Wakeup
from client_resolver.telemetry.dispatch import tell
from client_resolver.telemetry.observer import Observer

__all__ = ["Lifecycle", "closed"]

_JOIN = 5.0
"""Seconds that `close` waits for the threads of the channel. Only one that a resolver of the
application's or the system's DNS holds up takes longer, and it ends by itself."""


class Driven(Protocol):
    """Whose life it is. See `client_resolver.sync.driver.Driver` for the attributes."""

    settings: Settings
    closed: bool
    started: bool
    outlook: Outlook[Handle]
    pending: WaitingCalls
    runner: MachineRunner
    subscriptions: Subscriptions
    load_reader: LoadReader

    def defer(self, call: Pending) -> bool:
        """Let a call go on later. Return whether somebody will."""

    def snapshot(self) -> ChannelSnapshot:
        """Return the whole state of the channel."""


class Lifecycle:
    """Starts and ends what a channel has that runs: its thread, its resolution, its connections.

    Any thread may call any method at any time. The locks are that of `DriverThread`, and
    `starting`, by which observers are notified of a channel before its first RPC goes on.

    Args:
        driver: Whose life it is.
        work: Wakes the driver's thread.

    Attributes:
        thread: The driver's thread.
        starting: Held while observers are notified that the channel is used.
    """

    def __init__(self, driver: Driven, work: Wakeup) -> None:
        self._driver = driver
        self._work = work
        self.thread = DriverThread(driver.settings.target.text, work, self._go_round, self._finish)
        self.starting = Guard()
        self._announced = False
        self._resolution: Resolution | None = None
        self._resolves = False

    def start(self, *, connect: bool = True) -> None:
        """Start what isn't running. Waits for no more than a thread to begin.

        Args:
            connect: Also start the resolution and the connections.

        Raises:
            ValueError: The channel is closed.
        """
        driver, thread = self._driver, self.thread
        if driver.closed:
            raise ValueError("Cannot invoke RPC on closed channel!")
        if thread.runs and (driver.started or not connect):
            return
        if connect and not driver.started:
            # Observers are notified first; no other thread's RPC continues before that.
            self.starting.run(self._announce, _nothing)
            driver.started = True
        thread.start()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._tell(Observer.channel_started)

    def resolve_now(self) -> None:
        """Ask for the backends again, at once."""
        self._resolves = True
        self.start()
        self._work.set()

    def connect(self) -> None:
        """Start, and have a backend connected where none is unless it is picked."""
        self._driver.runner.connects = True
        self.start()
        self._work.set()

    def close(self) -> None:
        """Stop everything, and cancel the RPCs in flight. Returns in bounded time.

        The driver's thread does it. So it is done even if an exception of a signal handler comes
        in between, or if the thread that calls this is in the middle of something of the channel's:
        then nothing is waited for.
        """
        driver = self._driver
        driver.closed = driver.runner.closed = True
        driver.outlook = closed(driver.outlook)
        self.thread.stop()
        driver.pending.end()
        if not is_nested():
            self.thread.join(_JOIN)

    def abandon(self) -> None:
        """Have the threads end by themselves: nobody uses the channel any more."""
        # The garbage collector calls this on any thread at any time.
        self.thread.stop()

    def advance(self, calls: Sequence[Pending]) -> None:
        """Have calls that wait go on. On the driver's thread."""
        driver = self._driver
        for call in calls:
            # Before it goes on: another thread may defer it again as soon as it has.
            driver.pending.remove(call)
            if call.advance() and not driver.defer(call):
                call.advance()

    def _go_round(self) -> float:
        """Do what is due. Return when something is due next. On the driver's thread."""
        driver = self._driver
        runner, pending, subscriptions = driver.runner, driver.pending, driver.subscriptions
        self._begin()
        wakes_at = runner.tick()
        runner.connections.shut()
        runner.explain()
        if runner.connections.unexplained:
            self._work.set()
        # As in grpc, a channel is idle before it is used.
        state = driver.outlook.connectivity if driver.started else Connectivity.IDLE
        subscriptions.note(state.name)
        subscriptions.tell()
        self.advance(pending.due(driver.outlook))
        if runner.build():
            self._work.set()
        # Whatever moves a time of the machine's from here on sets the wakeup.
        pending_at = pending.wake_at()
        return wakes_at if pending_at is None else min(wakes_at, pending_at)

    def _begin(self) -> None:
        """Begin what was asked for since the last time."""
        if self._driver.started and self._resolution is None:
            runner = self._driver.runner
            self._resolution = Resolution(self._driver.settings, runner)
            runner.backend_failed = self._resolution.backend_failed
            self._resolution.start()
        if self._resolves and self._resolution is not None:
            self._resolves = False
            self._resolution.resolve_now()

    def _finish(self) -> None:
        """Close everything. On the driver's thread."""
        driver = self._driver
        driver.closed = driver.runner.closed = True
        driver.runner.finish()
        driver.pending.end()
        if self._resolution is not None:
            self._resolution.close()
        driver.load_reader.close(_JOIN)
        driver.runner.connections.shut()
        self.advance(driver.pending.all())
        driver.subscriptions.clear()
        driver.subscriptions.tell()
        if self._announced:
            self._tell(Observer.channel_closed)

    def _tell(self, what: Callable[[Observer, str, Callable[[], ChannelSnapshot]], None]) -> None:
        settings = self._driver.settings
        tell(settings.observers, what, settings.target.text, self._driver.snapshot)


def closed(outlook: Outlook[Handle]) -> Outlook[Handle]:
    """Return the published state of a closed channel: there is nothing to pick from."""
    return replace(outlook, picker=None, idle_picker=None)


def _nothing() -> None:
    """Observers have been notified further down: one of them uses the channel."""
