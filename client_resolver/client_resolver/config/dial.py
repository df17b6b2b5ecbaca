"""Connection parameters of a single backend, where they differ between backends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc

from client_resolver.core.model import Endpoint

__all__ = ["NEVER_SENT", "Dial", "Dialing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing:
    """The connection parameters of one backend that differ from the channel's.

    Attributes:
        credentials: Of its connection. None: the channel's.
        authority: Its `:authority`, and the name that its certificate is checked against. Empty:
            the channel's.
        options: Channel arguments that go before the channel's.
    """

    credentials: grpc.ChannelCredentials | None = None
    authority: str = ""
    options: tuple[tuple[str, object], ...] = ()


Dial: TypeAlias = Callable[[Endpoint], Dialing | None]
"""Returns how a backend is dialled. None: as the channel has it. It is called whenever a connection
is opened, so new credentials hold from the next connection on."""


class _Refusing(grpc.AuthMetadataPlugin):
    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002
        callback: grpc.AuthMetadataPluginCallback,
    ) -> None:
        callback((), PermissionError("not to be sent"))


NEVER_SENT: Final = grpc.metadata_call_credentials(_Refusing(), "never-sent")
"""Call credentials of an RPC that is to fail in the client, whatever its connection comes to.

C-core asks for call credentials once it has a connection, and before it sends anything. Without a
connection the RPC fails with the reason for that; with one, these refuse, or don't get as far,
since a connection without TLS takes none.
"""
