"""The connections of one backend, and how one is opened."""

from collections.abc import Sequence
from itertools import count
from typing import TypeAlias

import grpc

from client_resolver.config.dial import NEVER_SENT
from client_resolver.core import backend
from client_resolver.core.connection_errors import EXPLAIN_METHOD, EXPLAIN_TIMEOUT, cause
from client_resolver.core.model import Connectivity
from client_resolver.sync.connectivity import end_calls, probe, steady

__all__ = [
    "READY",
    "Action",
    "Backend",
    "Connection",
    "Connections",
    "Handle",
    "Place",
    "Undialled",
    "one_of",
    "open_channel",
    "why",
]

READY = Connectivity.READY
_ORDER = (READY, Connectivity.CONNECTING, Connectivity.IDLE, Connectivity.TRANSIENT_FAILURE)


class Connection:
    """One connection: a channel of grpc's own to one address."""

    __slots__ = ("_lock", "channel", "closed", "state", "why")

    def __init__(self, channel: grpc.Channel) -> None:
        self._lock = steady(channel)
        self.channel = channel
        self.state = probe(channel)
        self.closed = False
        self.why: str | None = None

    @property
    def parts(self) -> Sequence["Connection"]:
        """The single connections."""
        return (self,)

    def look(self, connect: bool = False) -> Connectivity | None:
        """Return its state, without waiting for another thread. None: one is at the connection.

        That one may have been interrupted by a signal handler, whose RPC waits for the backends
        that the thread which calls this is to connect. Not for the main thread.
        """
        lock = self._lock
        if lock is None:
            return self.state(connect)
        if not lock.acquire(blocking=False):
            return None
        try:
            return self.state(connect)
        finally:
            lock.release()

    def shut(self) -> None:
        """Close it. Its calls end with UNAVAILABLE and `why`, or without that with CANCELLED."""
        if self.why is not None:
            end_calls(self.channel, self.why)
        self.channel.close()


def why(handle: "Handle") -> str:
    """Return why a connection fails, in gRPC's words. Empty: it doesn't, or that isn't known.

    gRPC ends an RPC that doesn't wait for ready locally, with the reason in its details, where its
    channel is in TRANSIENT_FAILURE. That takes some 0.1 ms; but a connection that is being tried
    again by then makes the RPC wait for the outcome. Not for a thread that others wait for.
    """
    for part in handle.parts:
        if part.state(False) is Connectivity.TRANSIENT_FAILURE:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            ask = part.channel.unary_unary(EXPLAIN_METHOD)
            try:
                ask(b"", timeout=EXPLAIN_TIMEOUT, credentials=NEVER_SENT, wait_for_ready=False)
            except grpc.RpcError as error:
                return cause(error.code().name, error.details() or "")
            except ValueError:
                # The channel was closed meanwhile.
                return ""
    return ""


class Connections:
    """Several connections of one backend, which its RPCs use in turn."""

    __slots__ = ("_turn", "parts")

    def __init__(self, parts: Sequence[Connection]) -> None:
        self.parts = parts
        self._turn = count()

    def state(self, connect: bool) -> Connectivity:
        """Return the state of all together. Those that are idle beside a ready one connect."""
        return self._together([part.state(connect) for part in self.parts])

    def look(self, connect: bool = False) -> Connectivity | None:
        """Return the state without waiting for another thread. None: one is at one of them."""
        states: list[Connectivity] = []
        for part in self.parts:
            state = part.look(connect)
            if state is None:
                return None
            states.append(state)
        return self._together(states)

    def _together(self, states: Sequence[Connectivity]) -> Connectivity:
        best = min(states, key=_rank)
        if best is READY:
            for part, state in zip(self.parts, states, strict=True):
                if state is Connectivity.IDLE:
                    part.state(True)
        return best

    def next(self) -> Connection:
        """Return the one whose turn it is, of those that are ready."""
        parts = self.parts
        start = next(self._turn)
        for step in range(len(parts)):
            part = parts[(start + step) % len(parts)]
            if part.state(False) is READY:
                return part
        return parts[start % len(parts)]


class Undialled:
    """Takes a connection's place if the application's `dial` failed."""

    __slots__ = ()

    parts: Sequence[Connection] = ()

    def state(self, connect: bool) -> Connectivity:  # noqa: ARG002
        """Return that it has failed."""
        return Connectivity.TRANSIENT_FAILURE

    def look(self, connect: bool = False) -> Connectivity | None:
        """Return that it has failed."""
        return self.state(connect)


Handle: TypeAlias = Connection | Connections | Undialled
Backend: TypeAlias = backend.Backend[Handle]
Action: TypeAlias = backend.Action[Handle]
Place: TypeAlias = backend.Place[Handle]


def one_of(handle: Handle | None) -> Handle | None:
    """Return the connection for a backend's next RPC."""
    return handle.next() if isinstance(handle, Connections) else handle


def open_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, object]],
    compression: grpc.Compression | None = None,
) -> grpc.Channel:
    """Make a channel of grpc's own. Without credentials: insecure."""
    if credentials is None:
        return grpc.insecure_channel(target, options, compression)
    return grpc.secure_channel(target, credentials, options, compression)


def _rank(state: Connectivity) -> int:
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)
