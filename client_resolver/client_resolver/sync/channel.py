"""A `grpc.Channel` that picks a backend per RPC."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from client_resolver.config.settings import Settings
from client_resolver.core.snapshot import ChannelSnapshot
from client_resolver.sync.driver import Driver
from client_resolver.sync.method import Method
from client_resolver.sync.multicallables import MULTICALLABLES
from client_resolver.sync.requests import keeping

__all__ = ["Channel"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class Channel(grpc.Channel):
    """See `client_resolver.insecure_channel`."""

    def __init__(self, settings: Settings) -> None:
        self._driver = Driver(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel and all that belongs to it. RPCs in flight are cancelled."""
        self._driver.close()

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)
        if driver is not None:
            driver.lifecycle.abandon()

    def subscribe(
        self,
        callback: Callable[[grpc.ChannelConnectivity], None],
        try_to_connect: bool | None = False,
    ) -> None:
        """Have the state of all backends together told, now and whenever it changes.

        Args:
            callback: Called on a thread of this package.
            try_to_connect: Start the watch and the connections unless they run.
        """
        if try_to_connect:
            self._driver.lifecycle.connect()
        else:
            self._driver.start(connect=False)
        self._driver.subscriptions.listen(callback)

    def snapshot(self) -> ChannelSnapshot:
        """Return the whole state of the channel: its list, its backends, its policy."""
        return self._driver.snapshot()

    def resolve_now(self) -> None:
        """Ask for the list of backends again, at once. Does not wait for it."""
        self._driver.lifecycle.resolve_now()

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Undo `subscribe`."""
        self._driver.subscriptions.unlisten(callback)

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.UnaryUnaryMultiCallable[Req, Res]":
        """See `grpc.Channel.unary_unary`."""
        multicallable: grpc.UnaryUnaryMultiCallable[Req, Res] = self._multicallable(
            "unary_unary", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.UnaryStreamMultiCallable[Req, Res]":
        """See `grpc.Channel.unary_stream`."""
        multicallable: grpc.UnaryStreamMultiCallable[Req, Res] = self._multicallable(
            "unary_stream", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.StreamUnaryMultiCallable[Req, Res]":
        """See `grpc.Channel.stream_unary`."""
        multicallable: grpc.StreamUnaryMultiCallable[Req, Res] = self._multicallable(
            "stream_unary", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.StreamStreamMultiCallable[Req, Res]":
        """See `grpc.Channel.stream_stream`."""
        multicallable: grpc.StreamStreamMultiCallable[Req, Res] = self._multicallable(
            "stream_stream", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def _multicallable(
        self,
        kind: str,
        serializer: Callable[[Any], bytes] | None,
        deserializer: Callable[[bytes], Any] | None,
        registered: bool | None,
        path: str | bytes,
    ) -> Any:  # noqa: ANN401
        method: Method[Any] = Method(
            self._driver,
            self,
            kind=kind,
            path=path.decode() if isinstance(path, bytes) else path,
            serializer=keeping(serializer) if kind.startswith("stream") else serializer,
            deserializer=deserializer,
            registered=bool(registered),
        )
        return MULTICALLABLES[kind](method)

    def __repr__(self) -> str:
        return f"<client_resolver.Channel {self._driver!r}>"
