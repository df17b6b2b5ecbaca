"""An RPC that ended without having been sent."""

# Every method is one of grpc's, documented there.
# ruff: noqa: ARG002, D102

from collections.abc import Callable
from types import TracebackType
from typing import Never

import grpc

__all__ = ["EndedCall"]


class EndedCall(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[type-arg]
    """An ended call of any kind, and the error that it raises.

    Args:
        code: Its status code.
        details: Its status's text.
        locally: The application cancelled it.
    """

    def __init__(self, code: grpc.StatusCode, details: str, *, locally: bool = False) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._locally = locally

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def debug_error_string(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return 0.0

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return self._locally

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def add_done_callback(self, fn: Callable[["grpc.Future[object]"], None]) -> None:
        fn(self)

    def result(self, timeout: float | None = None) -> Never:
        if self._locally:
            raise grpc.FutureCancelledError
        raise self

    def exception(self, timeout: float | None = None) -> Exception:
        if self._locally:
            raise grpc.FutureCancelledError
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        try:
            self.result()
        except grpc.RpcError as error:
            return error.__traceback__

    def __iter__(self) -> "EndedCall":
        return self

    def __next__(self) -> Never:
        raise self

    def __repr__(self) -> str:
        return f"<EndedCall {self._code.name}: {self._details}>"

    __str__ = __repr__
