"""Wraps every RPC of a server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import grpc

__all__ = ["Around", "Interceptor"]

Around = Callable[[str, grpc.ServicerContext], AbstractContextManager[None]]
"""Returns what is entered before the servicer sees an RPC of a method, and left after its end."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Interceptor(grpc.ServerInterceptor):
    """Puts something around RPCs.

    Args:
        around: What.
        passed_over: The beginnings of the methods that are left alone.
    """

    def __init__(self, around: Around, passed_over: tuple[str, ...]) -> None:
        self._around = around
        self._passed_over = passed_over

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Handler | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """See `grpc.ServerInterceptor`."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(self._passed_over):
            return handler
        make, behavior = _taken_apart(handler)

        def respond(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            with self._around(method, context):
                return behavior(request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
            with self._around(method, context):
                yield from behavior(request, context)

        wrapped: Handler = make(
            stream if handler.response_streaming else respond,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return wrapped


def _taken_apart(handler: Handler) -> tuple[Callable[..., Handler], Callable[..., Any]]:
    kinds: dict[tuple[bool, bool], tuple[Any, Any]] = {
        (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
    }
    make, behavior = kinds[handler.request_streaming, handler.response_streaming]
    return make, behavior
