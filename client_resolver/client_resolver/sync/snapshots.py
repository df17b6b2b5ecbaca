"""What a channel tells operators of its state: the snapshot, and the line that describes it."""

from time import monotonic

from client_resolver.config.settings import Settings, describe
from client_resolver.core.machine import Machine
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.sync.connection import Handle
from client_resolver.sync.work_serializer import WorkSerializer

__all__ = ["Snapshots"]

_REMEMBER = 1.0
"""Seconds between snapshots that are kept for those who come while the state changes."""


class Snapshots:
    """Reads the state machine for any caller, on any thread at any time.

    Who asks while his own thread changes the state, as a signal handler or an observer may, can't
    wait for the end of the change: he gets the last snapshot that was kept.

    Args:
        settings: The channel's settings.
        machine: The state machine.
        serializer: Its lock. The owner calls `changed` and `keep` inside.

    Attributes:
        due: When `keep` is to be called, on the monotonic clock. None: not before a change.
    """

    def __init__(
        self, settings: Settings, machine: Machine[Handle], serializer: WorkSerializer
    ) -> None:
        self._settings = settings
        self._machine = machine
        self._serializer = serializer
        self._kept = machine.snapshot(monotonic())
        self.due: float | None = None

    def changed(self) -> None:
        """The state has changed."""
        if self.due is None:
            self.due = monotonic() + _REMEMBER

    def keep(self, now: float) -> None:
        """Keep the state as it is now."""
        self._kept = self._machine.snapshot(now)
        self.due = None

    def latest(self) -> ChannelSnapshot:
        """Return the state of the machine."""
        found = self._serializer.read(lambda: self._machine.snapshot(monotonic()))
        return self._kept if found is None else found

    def describe(self, *, started: bool, closed: bool) -> str:
        """Return a line about the channel."""
        found = self._serializer.read(
            lambda: describe(self._settings, self._machine, closed=closed, started=started)
        )
        return f"{self._settings.target.text}: changing" if found is None else found
