"""A `grpc.aio.Channel` that picks a backend per RPC."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from client_resolver.aio import multicallables
from client_resolver.aio.driver import Driver
from client_resolver.aio.interceptors import Front, MultiCallable
from client_resolver.aio.method import Method
from client_resolver.config.settings import Settings
from client_resolver.core.snapshot import ChannelSnapshot

__all__ = ["Channel"]

Req = TypeVar("Req")
Res = TypeVar("Res")

_FACTORIES: dict[str, Any] = {
    "unary_unary": multicallables.UnaryUnaryMultiCallable,
    "unary_stream": multicallables.UnaryStreamMultiCallable,
    "stream_unary": multicallables.StreamUnaryMultiCallable,
    "stream_stream": multicallables.StreamStreamMultiCallable,
}


class Channel(grpc.aio.Channel):
    """See `client_resolver.aio.insecure_channel`."""

    def __init__(
        self, settings: Settings, interceptors: Sequence[grpc.aio.ClientInterceptor] | None
    ) -> None:
        self._settings = settings
        self._driver = Driver(settings)
        self._front = Front(interceptors) if interceptors else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel and all that belongs to it.

        Args:
            grace: How long the RPCs that are on a backend may take to end, in seconds. None: they
                are cancelled.

        Raises:
            RuntimeError: The channel belongs to another event loop, which isn't closed.
        """
        if self._front is not None:
            await self._front.close(grace)
        await self._driver.close(grace)

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)
        if driver is not None:
            driver.abandon()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of all backends together: READY if one of them is.

        Args:
            try_to_connect: Start the watch and the connections unless they run.

        Raises:
            RuntimeError: It is to connect, and belongs to another event loop.
        """
        if self._driver.closed:
            return grpc.ChannelConnectivity.SHUTDOWN
        fresh = self._driver.loop is None
        if try_to_connect:
            self._driver.start()
            self._driver.connect()
        if fresh:
            # As of grpc's own, the state is that before it began to connect.
            return grpc.ChannelConnectivity.IDLE
        return grpc.ChannelConnectivity[self._driver.outlook.connectivity.name]

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another than the one given.

        Raises:
            grpc.aio.UsageError: The channel is closed, so there will be no other.
        """
        while (state := self.get_state()) is last_observed_state:
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise grpc.aio.UsageError("Channel is closed.")
            await self._driver.changed()

    async def channel_ready(self) -> None:
        """Wait until a backend is ready.

        Raises:
            grpc.aio.UsageError: The channel is closed.
        """
        state = self.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            await self.wait_for_state_change(state)
            state = self.get_state(try_to_connect=True)

    def snapshot(self) -> ChannelSnapshot:
        """Return what the channel knows and does, as a frozen record for operators."""
        return self._driver.snapshot()

    def resolve_now(self) -> None:
        """Have the backends listed again at once, before the next regular time."""
        self._driver.lifecycle.resolve_now()

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.aio.UnaryUnaryMultiCallable[Req, Res]":
        """See `grpc.aio.Channel.unary_unary`."""
        multicallable: grpc.aio.UnaryUnaryMultiCallable[Req, Res] = self._multicallable(
            "unary_unary", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.aio.UnaryStreamMultiCallable[Req, Res]":
        """See `grpc.aio.Channel.unary_stream`."""
        multicallable: grpc.aio.UnaryStreamMultiCallable[Req, Res] = self._multicallable(
            "unary_stream", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.aio.StreamUnaryMultiCallable[Req, Res]":
        """See `grpc.aio.Channel.stream_unary`."""
        multicallable: grpc.aio.StreamUnaryMultiCallable[Req, Res] = self._multicallable(
            "stream_unary", request_serializer, response_deserializer, _registered_method, method
        )
        return multicallable

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> "grpc.aio.StreamStreamMultiCallable[Req, Res]":
        """See `grpc.aio.Channel.stream_stream`."""
        multicallable: grpc.aio.StreamStreamMultiCallable[Req, Res] = self._multicallable(
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
        path = path.decode() if isinstance(path, bytes) else path

        def picking(path: str) -> MultiCallable:
            method: Method[Any] = Method(
                self._driver,
                self,
                kind=kind,
                path=path,
                serializer=serializer,
                deserializer=deserializer,
                registered=bool(registered),
            )
            multicallable: MultiCallable = _FACTORIES[kind](method)
            return multicallable

        if self._front is not None:
            known = {path: picking(path)}

            def find(path: str) -> MultiCallable:
                return known.get(path) or known.setdefault(path, picking(path))

            intercepted = self._front.wrap(kind, path, find)
            if intercepted is not None:
                return intercepted
        return picking(path)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Channel {self._driver!r}>"
