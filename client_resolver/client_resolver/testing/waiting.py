"""Waiting for what is to become true, with a limit instead of a sleep."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

from client_resolver import aio
from client_resolver.core.model import Connectivity
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.sync.channel import Channel
from client_resolver.testing.server import TIMEOUT

__all__ = ["connect", "connect_aio", "eventually", "wait_for"]

T = TypeVar("T")

_PAUSE = 0.005
"""Seconds between two checks of a state without notifications."""


def wait_for(condition: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
    """Wait until a condition holds, and return what it gave.

    Args:
        condition: Is asked every few milliseconds.
        timeout: Seconds that it has.

    Raises:
        TimeoutError: It didn't come to hold.
    """
    until = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() >= until:
            raise _late(found, timeout)
        time.sleep(_PAUSE)
    return found


async def eventually(condition: Callable[[], T | None], timeout: float = TIMEOUT) -> T:  # noqa: ASYNC109
    """Do what `wait_for` does, on an event loop."""
    until = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() >= until:
            raise _late(found, timeout)
        await asyncio.sleep(_PAUSE)
    return found


def connect(channel: Channel, count: int, timeout: float = TIMEOUT) -> ChannelSnapshot:
    """Have a channel connect, and wait until it picks among exactly `count` backends.

    Args:
        channel: The channel. A lazy one connects no backend before it picks it.
        count: How many.
        timeout: Seconds that it has.

    Raises:
        TimeoutError: It picks among fewer, or more. The text tells the channel's state.
    """
    channel.subscribe(_ignore, try_to_connect=True)
    try:
        return wait_for(lambda: _picks_among(channel.snapshot(), count), timeout)
    except TimeoutError as error:
        raise TimeoutError(f"{count} backends wanted after {timeout:g} s: {channel!r}") from error
    finally:
        channel.unsubscribe(_ignore)


async def connect_aio(
    channel: aio.Channel,
    count: int,
    timeout: float = TIMEOUT,  # noqa: ASYNC109
) -> ChannelSnapshot:
    """Do what `connect` does, for a channel of `client_resolver.aio`."""
    channel.get_state(try_to_connect=True)
    try:
        return await eventually(lambda: _picks_among(channel.snapshot(), count), timeout)
    except TimeoutError as error:
        raise TimeoutError(f"{count} backends wanted after {timeout:g} s: {channel!r}") from error


def _picks_among(snapshot: ChannelSnapshot, count: int) -> ChannelSnapshot | None:
    picked = [
        one
        for one in snapshot.backends
        if one.connectivity is Connectivity.READY
        and one.weight
        and not one.draining
        and one.ejected_for is None
    ]
    return snapshot if snapshot.settled and len(picked) == count else None


def _ignore(_state: grpc.ChannelConnectivity) -> None:
    pass


def _late(found: object, timeout: float) -> TimeoutError:
    return TimeoutError(f"still {found!r} after {timeout:g} s")
