"""`xds.service.orca.v3.OpenRcaService`: load reports out of band (gRFC A51)."""

import threading
from collections.abc import Iterator
from time import monotonic

import grpc

from client_resolver._pb import orca_pb2
from client_resolver.call.load_report import LOAD_STREAM

__all__ = ["PREFIX", "LoadService"]

PREFIX = LOAD_STREAM.rpartition("/")[0] + "/"


class LoadService(grpc.GenericRpcHandler):
    """Streams a report to every client that asks. Before there is one: UNIMPLEMENTED.

    Attributes:
        streams: How many streams are open.
        begun: How many were ever begun, with or without success.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._report: bytes | None = None
        self._ended = 0
        self.streams = 0
        self.begun = 0

    def set(self, report: bytes) -> None:
        """Set what clients are told from their next report on."""
        with self._changed:
            self._report = report

    def end_streams(self) -> None:
        """End the streams that are open: a server that stops with a grace waits for them."""
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See `grpc.GenericRpcHandler`."""
        if handler_call_details.method == LOAD_STREAM:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return None

    def _stream(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._changed:
            self.begun += 1
            began = self._ended
        if self._report is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no load reports")
        request = orca_pb2.LoadReportRequest.FromString(data)
        period = max(0.01, request.report_interval.ToTimedelta().total_seconds())
        context.add_callback(self._wake)
        with self._changed:
            self.streams += 1
        try:
            while context.is_active() and self._ended == began:
                yield self._report or b""
                self._pause(context, began, monotonic() + period)
        finally:
            with self._changed:
                self.streams -= 1

    def _pause(self, context: grpc.ServicerContext, began: int, until: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended != began or not context.is_active(), until - monotonic()
            )

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
