"""A call that has ended, mostly without having been sent."""

# Every method is one of grpc's, documented there.
# ruff: noqa: ARG002, D102

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeVar

import grpc

__all__ = ["EndedCall"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class EndedCall(
    grpc.aio.UnaryUnaryCall[Req, Res],
    grpc.aio.UnaryStreamCall[Req, Res],
    grpc.aio.StreamUnaryCall[Req, Res],
    grpc.aio.StreamStreamCall[Req, Res],
):
    """An ended call of any kind.

    Args:
        code: Its status code.
        details: Its status's text.
        initial: Its initial metadata. None: none.
        trailing: Its trailing metadata. None: none.
        locally: The application cancelled it: awaiting it raises `asyncio.CancelledError`.

    Attributes:
        status: Its status code.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str,
        initial: grpc.aio.Metadata | None = None,
        trailing: grpc.aio.Metadata | None = None,
        *,
        locally: bool = False,
    ) -> None:
        self.status = code
        self._details = details
        self._initial = initial or grpc.aio.Metadata()
        self._trailing = trailing or grpc.aio.Metadata()
        self._locally = locally

    def _error(self) -> BaseException:
        if self._locally:
            return asyncio.CancelledError()
        return grpc.aio.AioRpcError(
            self.status, self._initial, self._trailing, self._details, self._details
        )

    def cancelled(self) -> bool:
        return self.status is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return True

    def time_remaining(self) -> float | None:
        return None

    def cancel(self) -> bool:
        return False

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        callback(self)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return self._initial

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return self._trailing

    async def code(self) -> grpc.StatusCode:
        return self.status

    async def details(self) -> str:
        return self._details

    async def debug_error_string(self) -> str:
        return self._details

    async def wait_for_connection(self) -> None:
        raise self._error()

    def __await__(self) -> Generator[None, None, Res]:
        yield from ()
        raise self._error()

    async def __aiter__(self) -> AsyncIterator[Res]:
        nothing: tuple[Res, ...] = ()
        for response in nothing:
            yield response
        raise self._error()

    async def read(self) -> Res:
        raise self._error()

    async def write(self, request: Req) -> None:
        raise self._error()

    async def done_writing(self) -> None:
        return

    def __repr__(self) -> str:
        return f"<EndedCall {self.status.name}: {self._details}>"
