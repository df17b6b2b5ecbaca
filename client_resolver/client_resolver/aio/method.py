"""One method of a channel: what every attempt to call it needs."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc

from client_resolver.aio.connection import Connection
from client_resolver.aio.driver import Driver
from client_resolver.service_config import ServiceConfig

__all__ = ["Method"]

C = TypeVar("C", bound=grpc.aio.Call)


class Method(Generic[C]):
    """A method's path and serializers, and its multicallable on each connection.

    Args:
        driver: The channel's driver.
        kind: The name of grpc's factory: `unary_unary`, `unary_stream`, …
        path: `/package.Service/Method`.
        serializer: Makes bytes of a request.
        deserializer: Makes a response of bytes.
        registered: What generated stubs pass as `_registered_method`.
    """

    __slots__ = (
        "__weakref__",
        "_bound",
        "deserializer",
        "driver",
        "kind",
        "path",
        "registered",
        "serializer",
        "timeout",
        "wait_for_ready",
    )

    def __init__(
        self,
        driver: Driver,
        kind: str,
        path: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
        *,
        registered: bool,
    ) -> None:
        self.driver = driver
        self.kind = kind
        self.path = path
        self.serializer = serializer
        self.deserializer = deserializer
        self.registered = registered
        self.timeout: float | None = None
        self.wait_for_ready: bool | None = None
        driver.configure(self)
        self._bound: dict[Connection, Callable[..., C]] = {}

    def configure(self, config: ServiceConfig) -> None:
        """See `client_resolver.central.Configured`."""
        method = config.method(self.path)
        self.timeout, self.wait_for_ready = method.timeout, method.wait_for_ready

    def on(self, connection: Connection) -> Callable[..., C]:
        """Return the method's multicallable on a connection."""
        bound = self._bound.get(connection)
        if bound is None:
            bound = self._bind(connection)
        return bound

    def _bind(self, connection: Connection) -> Callable[..., C]:
        gone = [known for known in self._bound if known.closed]
        for known in gone:
            del self._bound[known]
        factory = getattr(connection.channel, self.kind)
        bound: Callable[..., C] = factory(
            self.path, self.serializer, self.deserializer, _registered_method=self.registered
        )
        self._bound[connection] = bound
        return bound
