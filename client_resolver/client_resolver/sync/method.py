"""One method of a channel: what every attempt to call it needs."""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Self, TypeVar

import grpc

from client_resolver.call.path import is_light, is_plain
from client_resolver.config.call_arguments import check_arguments, refuse_unless_bytes
from client_resolver.config.service_config import MethodConfig, ServiceConfig
from client_resolver.sync.connection import Connection, Connections, Handle
from client_resolver.sync.driver import Driver
from client_resolver.sync.ended import EndedCall

__all__ = ["Method"]

M = TypeVar("M")


class Method(Generic[M]):
    """A method's path and serializers, and its multicallable `M` on each connection.

    Args:
        driver: The channel's driver.
        channel: Kept alive for as long as the method is: its end closes the driver.
        kind: The name of grpc's factory: `unary_unary`, `unary_stream`, …
        path: `/package.Service/Method`.
        serializer: Makes bytes of a request.
        deserializer: Makes a response of bytes.
        registered: What generated stubs pass as `_registered_method`.

    Attributes:
        bound: The multicallable on each connection that it was needed on.
        config: What the service config says of the method.
        light: An RPC is hardly more than that, as long as its first attempt succeeds.
        plain: An RPC is but a call on the picked backend's connection.
    """

    def __init__(
        self,
        driver: Driver,
        channel: object,
        *,
        kind: str,
        path: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
        registered: bool,
    ) -> None:
        self.driver = driver
        self.channel = channel
        self.kind = kind
        self.path = path
        self.serializer = serializer
        self.deserializer = deserializer
        self.registered = registered
        self.config = MethodConfig()
        self.plain = False
        self.light = False
        driver.configure(self)
        self.bound: dict[Handle | None, M] = {}

    @classmethod
    def of(cls, other: "Method[Any]") -> Self:
        """Make the same method, of another form."""
        return cls(
            other.driver,
            other.channel,
            kind=other.kind,
            path=other.path,
            serializer=other.serializer,
            deserializer=other.deserializer,
            registered=other.registered,
        )

    def configure(self, config: ServiceConfig) -> None:
        """See `client_resolver.config.effective_config.ConfigListener`."""
        self.config = config.method(self.path)
        self.plain = is_plain(self.driver.settings, config, self.config)
        self.light = is_light(self.driver.settings, config, self.config)

    def on(self, handle: Handle | None) -> M:
        """Return the method's multicallable on the connection of a picked backend.

        Raises:
            ValueError: The channel was closed since.
        """
        bound = self.bound.get(handle)
        if bound is None:
            if handle is None:
                raise ValueError("Cannot invoke RPC on closed channel!")
            if isinstance(handle, Connections):
                return self.on(handle.next())
            assert isinstance(handle, Connection)  # noqa: S101
            # grpc's factories are not thread-safe for registered methods. Code that interrupts one
            # of them on its own thread runs between two complete steps of C code.
            bind = partial(self._bind, handle)
            bound = self.bound[handle] = self.driver.binding.run(bind, bind)
        return bound

    def check(
        self,
        request: object,
        credentials: grpc.CallCredentials | None,
        compression: grpc.Compression | None,
    ) -> None:
        """Check the arguments of an RPC that begins later, or on another thread.

        Raises:
            EndedCall: The request can't be serialized.
            TypeError: It, or the credentials, are of a wrong type.
            KeyError: There is no such compression.
        """
        check_arguments(credentials, compression)
        if self.kind.startswith("stream"):
            return
        message = request
        if self.serializer is not None:
            try:
                message = self.serializer(request)
            except Exception:  # noqa: BLE001 (grpc logs it, and uses None)
                message = None
        if message is None:
            raise EndedCall(grpc.StatusCode.INTERNAL, "Exception serializing request!")
        refuse_unless_bytes(message, "message")

    def _bind(self, connection: Connection) -> M:
        for known in list(self.bound):
            if isinstance(known, Connection) and known.closed:
                self.bound.pop(known, None)
        factory = getattr(connection.channel, self.kind)
        bound: M = factory(
            self.path, self.serializer, self.deserializer, _registered_method=self.registered
        )
        return bound
