"""One method of a channel: what every attempt to call it needs."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc

from client_resolver.aio.driver import Driver
from client_resolver.aio.requests import Requests
from client_resolver.call.path import is_light, is_plain
from client_resolver.config.call_arguments import refuse_unless_bytes
from client_resolver.config.method_config import MethodConfig
from client_resolver.config.service_config import ServiceConfig

__all__ = ["Method"]

C = TypeVar("C", bound=grpc.aio.Call)


class Method(Generic[C]):
    """A method's path and serializers, and its multicallable on each channel of a backend.

    Args:
        driver: The channel's driver.
        owner: The application's channel, kept alive for as long as the method is: its end closes
            the driver.
        kind: The name of grpc's factory: `unary_unary`, `unary_stream`, …
        path: `/package.Service/Method`.
        serializer: Makes bytes of a request.
        deserializer: Makes a response of bytes.
        registered: What generated stubs pass as `_registered_method`.

    Attributes:
        bound: The multicallable on each channel that it was needed on.
        config: What the service config says of the method.
        light: Its RPCs need hardly more than that, as long as their first attempt succeeds.
        plain: Its RPCs need nothing but a pick.
        pick: See `Driver.pick`.
        streams_requests: It takes a stream of requests.
        streams_responses: It returns a stream of responses.
    """

    __slots__ = (
        "__weakref__",
        "_deserializer",
        "_registered",
        "bound",
        "config",
        "driver",
        "kind",
        "light",
        "owner",
        "path",
        "pick",
        "plain",
        "serializer",
        "streams_requests",
        "streams_responses",
    )

    def __init__(
        self,
        driver: Driver,
        owner: object,
        *,
        kind: str,
        path: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
        registered: bool,
    ) -> None:
        self.driver = driver
        self.owner = owner
        self.pick = driver.pick
        self.kind = kind
        self.path = path
        self.serializer = serializer
        self.streams_requests = kind.startswith("stream")
        self.streams_responses = kind.endswith("stream")
        self._deserializer = deserializer
        self._registered = registered
        self.bound: dict[grpc.aio.Channel, Callable[..., C]] = {}
        self.config = MethodConfig()
        self.plain = False
        self.light = False
        driver.configure(self)

    def configure(self, config: ServiceConfig) -> None:
        """See `client_resolver.config.effective_config.ConfigListener`."""
        self.config = config.method(self.path)
        self.plain = is_plain(self.driver.settings, config, self.config)
        self.light = is_light(self.driver.settings, config, self.config)

    def requests(self, source: Any) -> Requests[Any]:  # noqa: ANN401
        """Keep the requests of an RPC as long as they may be needed again.

        Args:
            source: What the application gives. None: it writes them one by one.
        """
        config = self.config
        repeats = config.retry is not None or config.hedging is not None
        limit = self.driver.rpcs.retry_buffer if repeats else 0
        return Requests(source, self.serializer, limit=limit, shielded=repeats)

    def serialized(self, request: Any) -> bytes | None:  # noqa: ANN401
        """Return an RPC's one request as grpc gets it, once for all attempts.

        grpc.aio serializes in a task of its own: where that fails, its call never ends.

        Raises:
            TypeError: The serializer has made no bytes. It may raise other errors itself.
        """
        serializer = self.serializer
        message: object = request if serializer is None else serializer(request)
        if type(message) is bytes:
            return message
        return None if message is None else refuse_unless_bytes(message, "request")

    def check_credentials(self) -> None:
        """Refuse call credentials where no backend's connection can carry them.

        Raises:
            grpc.aio.UsageError: The channel is insecure.
        """
        settings = self.driver.settings
        if settings.credentials is None and settings.dial is None:
            raise grpc.aio.UsageError("Call credentials are only valid on secure channels")

    def on(self, channel: grpc.aio.Channel) -> Callable[..., C]:
        """Return the method's multicallable on a channel of a backend."""
        bound = self.bound.get(channel)
        return self.bind(channel) if bound is None else bound

    def bind(self, channel: grpc.aio.Channel) -> Callable[..., C]:
        """Make the method's multicallable on a channel of a backend, for requests of bytes."""
        for gone in self.bound.keys() - self.driver.channels:
            del self.bound[gone]
        bound: Callable[..., C] = getattr(channel, self.kind)(
            self.path,
            None,
            self._deserializer,
            _registered_method=self._registered,
        )
        self.bound[channel] = bound
        return bound
