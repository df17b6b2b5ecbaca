"""Access to the channel beneath a grpc channel: its state, and ending calls with a code.

The public way to the state, `grpc.Channel.subscribe`, holds a thread per channel that polls five
times a second: 300 backends cost 300 threads and a fifth of a core. The channel beneath can be
asked at any time, without a thread, for less than a microsecond. The public way to close a channel
ends its calls with CANCELLED, as if the application had closed it.

It is a private name of grpc's, so this module alone knows it, a test pins it, and where it is
missing the public way is taken.

It knows as well the `threading.Condition` that each channel beneath has, which every RPC and every
look at the state holds for some microseconds: see `steady`.
"""

import gc
import threading
from collections.abc import Callable
from operator import attrgetter
from typing import Protocol, cast

import grpc

from client_resolver.core.model import Connectivity

__all__ = ["Lock", "Probe", "end_calls", "probe", "steady"]

Probe = Callable[[bool], Connectivity]
"""Returns a channel's state. Given True, an idle channel begins to connect."""

_STATES = tuple(
    Connectivity[state.name] for state in sorted(grpc.ChannelConnectivity, key=lambda s: s.value[0])
)
_SHUTDOWN = Connectivity.SHUTDOWN


class Lock(Protocol):
    """A lock that its thread may take again."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """See `threading.RLock`."""

    def release(self) -> None:
        """See `threading.RLock`."""


class _CoreChannel(Protocol):
    def check_connectivity_state(self, try_to_connect: bool, /) -> int: ...
    def close(self, code: int, details: str, /) -> None: ...


def probe(channel: grpc.Channel) -> Probe:
    """Return what tells the state of a channel made by `grpc`."""
    core = getattr(channel, "_channel", None)
    if not hasattr(core, "check_connectivity_state"):
        return _subscribed(channel)
    check = cast("_CoreChannel", core).check_connectivity_state

    def ask(connect: bool) -> Connectivity:
        try:
            return _STATES[check(connect)]
        except ValueError:
            # "Channel is closed."
            return _SHUTDOWN

    return ask


def end_calls(channel: grpc.Channel, details: str) -> None:
    """End the calls of a channel that is about to be closed with UNAVAILABLE. Waits for their ends.

    Where the private name is missing, nothing happens: closing it will end them with CANCELLED.
    """
    core = getattr(channel, "_channel", None)
    if hasattr(core, "close"):
        code: int = grpc.StatusCode.UNAVAILABLE.value[0]
        cast("_CoreChannel", core).close(code, details)


class _Steady(threading.Condition):
    """A condition that `with` takes and gives back without a line of Python."""

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))


def steady(channel: grpc.Channel) -> Lock | None:
    """Have a channel made by `grpc` survive exceptions of signal handlers.

    `Condition.__enter__` and `__exit__` are functions of Python's around those of a lock. A handler
    may run at the beginning of the second or the end of the first, and if it raises, the lock stays
    the main thread's: every other thread that uses the channel then waits forever, as with grpc
    alone. It isn't rare, since signals are seen late, where a thread comes back from C: there.

    Returns:
        The condition's lock. Who has it may look at the state without waiting for another thread,
        or for a signal handler that has interrupted one. None: it can't be had.
    """
    lock: Lock | None = None
    for state in gc.get_referents(getattr(channel, "_channel", None)):
        if type(state).__name__ == "_ChannelState":
            for condition in gc.get_referents(state):
                if type(condition) is threading.Condition:
                    condition.__class__ = _Steady
                if isinstance(condition, _Steady):
                    lock = attrgetter("_lock")(condition)
    return lock


def _subscribed(channel: grpc.Channel) -> Probe:
    last = Connectivity.IDLE

    def observe(state: grpc.ChannelConnectivity) -> None:
        nonlocal last
        last = Connectivity[state.name]

    def ask(connect: bool) -> Connectivity:
        if connect:
            channel.subscribe(observe, try_to_connect=True)
            channel.unsubscribe(observe)
        return last

    channel.subscribe(observe)
    return ask
