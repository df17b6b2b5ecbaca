"""Interceptors above the pick, run by grpc's own machinery.

An interceptor that calls its continuation again must get another backend, so interceptors don't
belong to a backend's channel. They are given to a channel that never connects, followed by one more
that makes the call on a picked backend instead of going on.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc

__all__ = ["Front"]

Req = TypeVar("Req")
Res = TypeVar("Res")

MultiCallable = Callable[..., Any]
"""One of the four kinds of multicallable: they differ in what they are called with."""

_KINDS: tuple[tuple[str, type[grpc.aio.ClientInterceptor]], ...] = (
    ("unary_unary", grpc.aio.UnaryUnaryClientInterceptor),
    ("unary_stream", grpc.aio.UnaryStreamClientInterceptor),
    ("stream_unary", grpc.aio.StreamUnaryClientInterceptor),
    ("stream_stream", grpc.aio.StreamStreamClientInterceptor),
)

_factory: ContextVar[Callable[[str], MultiCallable]] = ContextVar("_factory")
"""Makes the picking multicallable of a method. Set where a call is made, read in its task."""


class Front:
    """The channel that runs the interceptors.

    Args:
        interceptors: As `grpc.aio.insecure_channel` takes them.

    Raises:
        ValueError: One of them is no interceptor.
    """

    def __init__(self, interceptors: Sequence[grpc.aio.ClientInterceptor]) -> None:
        self._channel = grpc.aio.insecure_channel(
            "ipv4:127.0.0.1:1",
            interceptors=[*interceptors, _UnaryUnary(), _UnaryStream(), _StreamUnary(), _Streams()],
        )
        # grpc takes an interceptor of several kinds for the first of them alone.
        self._kinds = {
            next((kind for kind, base in _KINDS if isinstance(interceptor, base)), "")
            for interceptor in interceptors
        }

    def wrap(
        self, kind: str, path: str, factory: Callable[[str], MultiCallable]
    ) -> MultiCallable | None:
        """Put the interceptors before a multicallable. None: there are none of its kind."""
        if kind not in self._kinds:
            return None
        intercepted = getattr(self._channel, kind)(path)

        def call(*args: object, **kwargs: object) -> object:
            token = _factory.set(factory)
            try:
                return intercepted(*args, **kwargs)
            finally:
                _factory.reset(token)

        return call

    async def close(self, grace: float | None) -> None:
        """Close the channel: its calls get `grace` seconds, then they are cancelled."""
        await self._channel.close(grace)


def _call(details: grpc.aio.ClientCallDetails, request: object) -> Any:  # noqa: ANN401
    method: object = details.method
    path = method.decode() if isinstance(method, bytes) else str(method)
    return _factory.get()(path)(
        request,
        timeout=details.timeout,
        metadata=details.metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: object,  # noqa: ARG002
        client_call_details: grpc.aio.ClientCallDetails,
        request: Req,
    ) -> grpc.aio.UnaryUnaryCall[Req, Res]:
        call: grpc.aio.UnaryUnaryCall[Req, Res] = _call(client_call_details, request)
        return call


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: object,  # noqa: ARG002
        client_call_details: grpc.aio.ClientCallDetails,
        request: Req,
    ) -> grpc.aio.UnaryStreamCall[Req, Res]:
        call: grpc.aio.UnaryStreamCall[Req, Res] = _call(client_call_details, request)
        return call


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: object,  # noqa: ARG002
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: AsyncIterable[Req] | Iterable[Req],
    ) -> grpc.aio.StreamUnaryCall[Req, Res]:
        call: grpc.aio.StreamUnaryCall[Req, Res] = _call(client_call_details, request_iterator)
        return call


class _Streams(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: object,  # noqa: ARG002
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: AsyncIterable[Req] | Iterable[Req],
    ) -> grpc.aio.StreamStreamCall[Req, Res]:
        call: grpc.aio.StreamStreamCall[Req, Res] = _call(client_call_details, request_iterator)
        return call
