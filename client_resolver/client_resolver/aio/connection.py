"""The connection of one backend, and how one is opened."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import grpc

from client_resolver.core import backends

__all__ = ["Action", "Backend", "Connection", "open_channel"]


class Connection:
    """One backend's channel and the task that follows its state."""

    __slots__ = ("channel", "closed", "follower")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.closed = False
        self.follower: asyncio.Task[None] | None = None

    async def shut(self, grace: float | None) -> None:
        """Close it. Its RPCs get `grace` seconds; without it they are cancelled."""
        if self.follower is not None:
            self.follower.cancel()
            await asyncio.wait([self.follower])
        await self.channel.close(grace)


Backend: TypeAlias = backends.Backend[Connection]
Action: TypeAlias = backends.Action[Connection]


def open_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, object]],
    compression: grpc.Compression | None = None,
) -> grpc.aio.Channel:
    """Make a channel of grpc's own. Without credentials: insecure."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options, compression)
    return grpc.aio.secure_channel(target, credentials, options, compression)
