"""The connection of one backend, and how one is opened."""

from collections.abc import Sequence
from typing import TypeAlias

import grpc

from client_resolver.core import backends
from client_resolver.sync.connectivity import probe

__all__ = ["Action", "Backend", "Connection", "open_channel"]


class Connection:
    """One backend's channel."""

    __slots__ = ("channel", "closed", "state")

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.state = probe(channel)
        self.closed = False


Backend: TypeAlias = backends.Backend[Connection]
Action: TypeAlias = backends.Action[Connection]


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
