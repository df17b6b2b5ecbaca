"""Multicallables: one callable per method and kind of RPC."""

# The arguments are those of grpc, in its order.
# ruff: noqa: PLR0917

from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Generic, TypeAlias, TypeVar

import grpc

from client_resolver.aio import calls
from client_resolver.aio.method import Method
from client_resolver.call.metadata import sendable

__all__ = [
    "StreamStreamMultiCallable",
    "StreamUnaryMultiCallable",
    "UnaryStreamMultiCallable",
    "UnaryUnaryMultiCallable",
]

Metadata: TypeAlias = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]
Req = TypeVar("Req")
Res = TypeVar("Res")


class UnaryUnaryMultiCallable(grpc.aio.UnaryUnaryMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Calls a unary-unary method on a picked backend."""

    def __init__(self, method: Method[grpc.aio.UnaryUnaryCall[Req, Res]]) -> None:
        self.method = method

    def __call__(
        self,
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryUnaryCall[Req, Res]:
        """See `grpc.aio.UnaryUnaryMultiCallable`."""
        metadata = None if metadata is None else sendable(metadata)
        if credentials is not None:
            self.method.check_credentials()
        arguments = (timeout, metadata, credentials, wait_for_ready, compression)
        return calls.UnaryUnaryCall(self.method, request, *arguments)


class UnaryStreamMultiCallable(grpc.aio.UnaryStreamMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Calls a unary-stream method on a picked backend."""

    def __init__(self, method: Method[grpc.aio.UnaryStreamCall[Req, Res]]) -> None:
        self.method = method

    def __call__(
        self,
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryStreamCall[Req, Res]:
        """See `grpc.aio.UnaryStreamMultiCallable`."""
        metadata = None if metadata is None else sendable(metadata)
        if credentials is not None:
            self.method.check_credentials()
        arguments = (timeout, metadata, credentials, wait_for_ready, compression)
        return calls.UnaryStreamCall(self.method, request, *arguments)


class StreamUnaryMultiCallable(grpc.aio.StreamUnaryMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Calls a stream-unary method on a picked backend."""

    def __init__(self, method: Method[grpc.aio.StreamUnaryCall[Req, Res]]) -> None:
        self.method = method

    def __call__(
        self,
        request_iterator: AsyncIterable[Req] | Iterable[Req] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamUnaryCall[Req, Res]:
        """See `grpc.aio.StreamUnaryMultiCallable`."""
        metadata = None if metadata is None else sendable(metadata)
        if credentials is not None:
            self.method.check_credentials()
        arguments = (timeout, metadata, credentials, wait_for_ready, compression)
        return calls.StreamUnaryCall(self.method, request_iterator, *arguments)


class StreamStreamMultiCallable(grpc.aio.StreamStreamMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Calls a stream-stream method on a picked backend."""

    def __init__(self, method: Method[grpc.aio.StreamStreamCall[Req, Res]]) -> None:
        self.method = method

    def __call__(
        self,
        request_iterator: AsyncIterable[Req] | Iterable[Req] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamStreamCall[Req, Res]:
        """See `grpc.aio.StreamStreamMultiCallable`."""
        metadata = None if metadata is None else sendable(metadata)
        if credentials is not None:
            self.method.check_credentials()
        arguments = (timeout, metadata, credentials, wait_for_ready, compression)
        return calls.StreamStreamCall(self.method, request_iterator, *arguments)
