"""The connections of a channel's backends: opens, watches and closes them."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic

from client_resolver.config.effective_config import EffectiveConfig
from client_resolver.config.settings import Settings
from client_resolver.core import backend as actions
from client_resolver.core.model import Connectivity
from client_resolver.sync.connection import (
    Action,
    Backend,
    Connection,
    Connections,
    Handle,
    Undialled,
    open_channel,
    why,
)
from client_resolver.telemetry.log import undialled

__all__ = ["IDLE", "BackendConnections"]

_READY = Connectivity.READY
_SOON = 0.001
_SELDOM = 0.1
"""Seconds between looks at connections that are not ready: from the first to the second."""
_ASKED_AT_ONCE = 20
"""How many reasons are asked for, at some 0.1 ms each, before the thread looks after the rest."""
IDLE = 1.0
"""Seconds between looks at connections that are ready. A pick looks at its own."""


class BackendConnections:
    """Carries out what the state machine wants done with connections, and polls their states.

    The owner serialises all calls but `shut`, which it makes without its lock: to close a channel
    of grpc's ends RPCs, and their callbacks are the application's.

    Args:
        settings: The channel's settings.
        central: Has the service config that holds.
        explained: Is called, on any thread, when `reasons` has some.
    """

    def __init__(
        self, settings: Settings, central: EffectiveConfig, explained: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._central = central
        self._explained = explained
        self._shutting: list[Connection] = []
        self._unexplained: deque[Backend] = deque()
        self._reasons: deque[tuple[Backend, Handle, str]] = deque()
        self._pause = _SOON
        self._ready_due = 0.0

    def perform(self, found: Iterable[Action]) -> None:
        """Carry out actions, in their order. A connection that is closed is only set aside."""
        for action in found:
            backend = action.backend
            match action:
                case actions.Open():
                    backend.handle = self._open(backend)
                    backend.handle.state(True)
                    self._pause = _SOON
                case actions.Connect():
                    if backend.handle is not None:
                        # Where a thread is at it, the next look finds it idle, and asks again.
                        backend.handle.look(connect=True)
                        self._pause = _SOON
                case actions.Close(overdue=overdue):
                    handle, backend.handle = backend.handle, None
                    for part in handle.parts if handle is not None else ():
                        part.closed = True
                        if overdue:
                            part.why = self._settings.undrained(backend.address)
                        self._shutting.append(part)
                case actions.Explain():
                    self._unexplained.append(backend)

    def look(
        self, backends: Sequence[Backend], observed: Callable[[Backend, Connectivity], None]
    ) -> float:
        """Look at the connections that are due.

        Args:
            backends: All that there are.
            observed: Called with each state that differs from before, or is IDLE.

        Returns:
            Seconds until the next look.
        """
        now = monotonic()
        at_ready = self._ready_due <= now
        if at_ready:
            self._ready_due = now + IDLE
        settled = True
        for backend in backends:
            if at_ready and isinstance(backend.handle, Undialled):
                backend.handle = self._open(backend)
            handle, before = backend.handle, backend.connectivity
            if handle is None or backend.draining or (before is _READY and not at_ready):
                continue
            state = handle.look()
            if state is None:
                # Again soon. Nothing waits for it here, while the others are processed.
                settled = False
                continue
            if state is not before or state is Connectivity.IDLE:
                observed(backend, state)
                self._pause = _SOON
            settled = settled and state is _READY
        if settled:
            return IDLE
        self._pause = min(self._pause * 1.5, _SELDOM)
        return self._pause

    def look_soon(self) -> None:
        """Have the next look be soon, and at all."""
        self._pause = _SOON
        self._ready_due = 0.0

    def explain(self) -> None:
        """Begin to find out why connections fail. Each takes an RPC, so it has its own thread."""
        for _ in range(min(_ASKED_AT_ONCE, len(self._unexplained))):
            backend = self._unexplained.popleft()
            handle = backend.handle
            if handle is None:
                continue
            args = (backend, handle)
            try:
                threading.Thread(
                    target=self._find_out, args=args, name="lookaside-why", daemon=True
                ).start()
            except RuntimeError:
                # The system gives no thread. The connection's failure is reported all the same.
                self._reasons.append((*args, ""))

    def _find_out(self, backend: Backend, handle: Handle) -> None:
        reason = ""
        try:
            reason = why(handle)
        finally:
            self._reasons.append((backend, handle, reason))
            self._explained()

    def reasons(self) -> Iterator[tuple[Backend, Handle, str]]:
        """Take the reasons that were found out: a backend, its connection, and why it fails."""
        while self._reasons:
            yield self._reasons.popleft()

    @property
    def unexplained(self) -> bool:
        """Whether `explain` has work to do."""
        return bool(self._unexplained)

    def shut(self) -> None:
        """Close what was set aside. Its RPCs are cancelled, or fail where they are overdue."""
        # One at a time, for `perform` may add to it on another thread.
        while self._shutting:
            try:
                connection = self._shutting.pop()
            except IndexError:
                return
            connection.shut()

    def _open(self, backend: Backend) -> Handle:
        settings = self._settings
        target = backend.endpoint.address.target
        try:
            credentials, options = settings.dialling(backend.endpoint, self._central.config)
            parts = [
                Connection(
                    open_channel(
                        target,
                        credentials,
                        # Channels of equal arguments may share one connection.
                        options if number == 0 else (*options, ("lookaside.connection", number)),
                        settings.compression,
                    )
                )
                for number in range(settings.connections_per_backend)
            ]
        except Exception as error:  # noqa: BLE001
            # Rather no connection than one with other credentials. It is tried again.
            undialled(settings.target.text, backend, error)
            return Undialled()
        return parts[0] if len(parts) == 1 else Connections(parts)
