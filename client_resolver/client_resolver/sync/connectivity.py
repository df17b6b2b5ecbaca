"""What only the channel beneath a grpc channel can do: tell its state, and end calls with a code.

The public way to the state, `grpc.Channel.subscribe`, holds a thread per channel that polls five
times a second: 300 backends cost 300 threads and a fifth of a core. The channel beneath can be
asked at any time, without a thread, for less than a microsecond. The public way to close a channel
ends its calls with CANCELLED, as if the application had closed it.

It is a private name of grpc's, so this module alone knows it, a test pins it, and where it is
missing the public way is taken.
"""

from collections.abc import Callable
from typing import Protocol, cast

import grpc

from client_resolver.core.model import Connectivity

__all__ = ["Probe", "end_calls", "probe"]

Probe = Callable[[bool], Connectivity]
"""Returns a channel's state. Given True, an idle channel begins to connect."""

_STATES = tuple(
    Connectivity[state.name] for state in sorted(grpc.ChannelConnectivity, key=lambda s: s.value[0])
)
_SHUTDOWN = Connectivity.SHUTDOWN


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
