"""The standard health service, `grpc.health.v1.Health`, in so little that it needs no stubs."""

import threading
from collections.abc import Iterator

import grpc

__all__ = ["PREFIX", "Health"]

PREFIX = "/grpc.health.v1.Health/"

# grpc.health.v1.HealthCheckResponse with its one field, the status.
_SERVING = b"\x08\x01"
_NOT_SERVING = b"\x08\x02"


class Health(grpc.GenericRpcHandler):
    """Tells clients one status, whichever service they ask for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serving = True
        self._ended = 0

    def set(self, *, serving: bool) -> None:
        """Set the status for clients, including those that watch."""
        with self._changed:
            self._serving = serving
            self._changed.notify_all()

    def end_watches(self) -> None:
        """End the watches that are open: a server that stops with a grace waits for them."""
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See `grpc.GenericRpcHandler`."""
        if handler_call_details.method == f"{PREFIX}Check":
            return grpc.unary_unary_rpc_method_handler(self._check)
        if handler_call_details.method == f"{PREFIX}Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        return None

    def _check(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        return _SERVING if self._serving else _NOT_SERVING

    def _watch(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        began = self._ended
        told: bool | None = None
        context.add_callback(self._wake)
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda told=told: (  # type: ignore[misc]
                        self._serving is not told or self._ended != began or not context.is_active()
                    )
                )
                told = self._serving
                if self._ended != began or not context.is_active():
                    return
            yield _SERVING if told else _NOT_SERVING

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
