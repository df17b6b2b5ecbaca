"""The connections of one backend, and how one is opened."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol, TypeAlias, TypeVar, cast

import grpc
import grpc.experimental

from client_resolver.config.dial import NEVER_SENT
from client_resolver.core import backend as backends
from client_resolver.core.connection_errors import EXPLAIN_METHOD, EXPLAIN_TIMEOUT, cause
from client_resolver.core.model import Connectivity

__all__ = [
    "READY",
    "Action",
    "Backend",
    "Connection",
    "Undialled",
    "end_calls",
    "open_channel",
    "peek",
]

T = TypeVar("T")

_END = 0.25
"""Seconds that the end of a connection waits for its followers. gRPC ends them at once, but not
while the application still refers to one of the connection's calls, even to one that has ended."""
_READY = grpc.ChannelConnectivity.READY
READY: Final[int] = _READY.value[0]
"""The state of a channel that is ready, as C-core has it: see `Connection.check`."""
_FAILING = grpc.ChannelConnectivity.TRANSIENT_FAILURE
_TOGETHER = (
    Connectivity.READY,
    Connectivity.CONNECTING,
    Connectivity.IDLE,
    Connectivity.TRANSIENT_FAILURE,
    Connectivity.SHUTDOWN,
)
"""The state of several channels is the first of these that one of them is in."""


class Connection:
    """One backend's channels and the tasks that follow their states.

    Args:
        channels: At least one.

    Attributes:
        channel: The channel for the next RPC.
        check: Returns the state of the first channel, as `READY` is one: for an RPC whose backends
            have one each. Given True, an idle channel begins to connect.
        followers: The tasks that follow the states of the channels until these are closed.
    """

    __slots__ = ("_turn", "channel", "channels", "check", "followers")

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self.channels = tuple(channels)
        self.channel = self.channels[0]
        self.check = _check(self.channel)
        self.followers: list[asyncio.Task[None]] = []
        self._turn = 0

    def ready(self) -> bool:
        """Whether an RPC may use `channel` now: it moves on to the next that is ready."""
        for _ in self.channels:
            self._turn = (self._turn + 1) % len(self.channels)
            channel = self.channels[self._turn]
            if channel.get_state() is _READY:
                self.channel = channel
                return True
        return False

    def state(self, try_to_connect: bool = False) -> Connectivity:
        """Return the state of all channels together: READY if one of them is."""
        states = {channel.get_state(try_to_connect).name for channel in self.channels}
        return next(state for state in _TOGETHER if state.name in states)

    def explain(self, explained: Callable[[str], None]) -> None:
        """Find out why the connection fails.

        gRPC ends an RPC that doesn't wait for ready locally, with the reason in its details, where
        its channel is in TRANSIENT_FAILURE.

        Args:
            explained: Is called once, later, with the reason. Empty: it isn't known.
        """
        channel = next((one for one in self.channels if one.get_state() is _FAILING), None)
        if channel is None:
            asyncio.get_running_loop().call_soon(explained, "")
            return
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPLAIN_METHOD)
        call = ask(b"", timeout=EXPLAIN_TIMEOUT, credentials=NEVER_SENT, wait_for_ready=False)
        call.add_done_callback(lambda ended: explained(_reason(ended)))

    async def shut(self, grace: float | None) -> None:
        """Close it. Its RPCs get `grace` seconds; without it they are cancelled."""
        await asyncio.gather(*(channel.close(grace) for channel in self.channels))
        if self.followers:
            _, left = await asyncio.wait(self.followers, timeout=_END)
            for follower in left:
                follower.cancel()


def _check(channel: grpc.aio.Channel) -> Callable[[bool], int]:
    """Return what tells the state of a channel.

    `Channel.get_state` is Python around a function of C, and every RPC asks. That one is a private
    name of grpc's: where it is missing, the public one is taken.
    """
    core = getattr(channel, "_channel", None)
    check: Callable[[bool], int] | None = getattr(core, "check_connectivity_state", None)
    if check is not None:
        return check

    def ask(connect: bool) -> int:
        state: int = channel.get_state(connect).value[0]
        return state

    return ask


def _reason(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> str:
    code, details = peek(call.code()), peek(call.details())
    return "" if code is None else cause(code.name, details or "")


def peek(coroutine: Coroutine[object, None, T]) -> T | None:
    """Return what a coroutine that needn't wait returns. None: it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    return None


class Undialled(Connection):
    """Takes a connection's place if the application's `dial` failed.

    Args:
        again: The task that dials again. It is cancelled with this.
    """

    __slots__ = ("_again",)

    def __init__(self, again: "asyncio.Task[None]") -> None:
        super().__init__([cast("grpc.aio.Channel", _Nowhere())])
        self._again = again

    async def shut(self, grace: float | None) -> None:  # noqa: ARG002
        """Dial no more."""
        self._again.cancel()

    def explain(self, explained: Callable[[str], None]) -> None:
        """See `Connection.explain`. Why it can't be dialled is known already."""
        asyncio.get_running_loop().call_soon(explained, "")


class _Nowhere:
    """A channel as far as a pick looks at it: it is never ready."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: ARG002
        return grpc.ChannelConnectivity.TRANSIENT_FAILURE


Backend: TypeAlias = backends.Backend[Connection]
Action: TypeAlias = backends.Action[Connection]


class Carried(Protocol):
    """A call of a backend's, as `in_flight` has it: what it counts by is what can be ended."""

    def drain(self, why: str) -> None:
        """End it with UNAVAILABLE, unless it has ended."""


def end_calls(backend: Backend, why: str) -> None:
    """End the RPCs that a backend carries with UNAVAILABLE."""
    for call in list(backend.in_flight):
        cast("Carried", call).drain(why)


def open_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, object]],
    compression: grpc.Compression | None = None,
) -> grpc.aio.Channel:
    """Make a channel of grpc's own. Without credentials: insecure.

    Its RPCs may have call credentials even so, which `grpc.aio.insecure_channel` raises at: it is
    C-core then that refuses them, once it has a connection.
    """
    if credentials is None:
        credentials = grpc.experimental.insecure_channel_credentials()  # type: ignore[no-untyped-call]
    return grpc.aio.secure_channel(target, credentials, options, compression)
