"""An RPC's arguments, checked at the call where grpc's own call is made only later.

A call that waits for its first connection, or whose attempts are started by somebody else than the
application's thread, would have nobody to raise to. What is refused here is what grpc refuses.
"""

from collections.abc import Iterable
from math import isnan
from typing import NamedTuple

import grpc

__all__ = ["CallArguments", "check_arguments", "deadline_after", "refuse_unless_bytes"]


class CallArguments(NamedTuple):
    """What an application calls a method with, in grpc's order.

    Attributes:
        request: The request, or where the requests come from.
        timeout: The bound of the RPC in seconds. None: none.
        metadata: Sent with it.
        credentials: The RPC's call credentials. None: the channel's.
        wait_for_ready: Wait also while no backend can be reached. None: as the service config.
        compression: The requests' compression. None: the channel's.
    """

    request: object
    timeout: float | None = None
    metadata: Iterable[tuple[str, str | bytes]] | None = None
    credentials: grpc.CallCredentials | None = None
    wait_for_ready: bool | None = None
    compression: grpc.Compression | None = None


_COMPRESSIONS = {one: one for one in grpc.Compression}


def check_arguments(
    credentials: grpc.CallCredentials | None, compression: grpc.Compression | None
) -> None:
    """Check what every attempt at an RPC is to be given.

    Args:
        credentials: Its call credentials. None: none.
        compression: Its compression. None: the channel's.

    Raises:
        TypeError: The credentials are none.
        KeyError: There is no such compression: grpc's own error.
    """
    if credentials is not None and not isinstance(credentials, grpc.CallCredentials):
        raise TypeError(f"credentials {credentials!r} are no grpc.CallCredentials")
    if compression:
        _COMPRESSIONS[compression]


def refuse_unless_bytes(message: object, name: str) -> bytes:
    """Return a serialized request, unless it isn't bytes: then in grpc's own words.

    Args:
        message: What the serializer has made, or the request where there is none.
        name: What grpc calls the argument.

    Raises:
        TypeError: It isn't bytes.
    """
    # grpc takes no class of the user's own.
    if type(message) is bytes:
        return message
    got = type(message).__name__
    raise TypeError(f"Argument '{name}' has incorrect type (expected bytes, got {got})")


def deadline_after(now: float, timeout: float | None) -> float | None:
    """Return when an RPC's time is over, on the clock that `now` is read from, in seconds.

    Args:
        now: The time.
        timeout: The RPC's bound in seconds. None: none. What isn't a number is over at once, as
            with grpc.

    Raises:
        TypeError: It can't be added to a time.
    """
    if timeout is None:
        return None
    deadline = now + timeout
    # A second ago: an RPC whose time ends now may still be answered, for grpc counts in ms.
    return now - 1.0 if isnan(deadline) else deadline
