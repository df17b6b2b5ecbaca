"""Tells clients how loaded this server is: `xds.service.orca.v3.OpenRcaService` (gRFC A51).

Clients whose service config has `weighted_round_robin` with `backendMetrics` and
`oobReportingPeriod` ask for it, and send the less the fuller a server is.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc

from examples.greeter._pb.orca_pb2 import LoadReport, LoadReportRequest

__all__ = ["Load"]

_METHOD = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
_LEAST_PERIOD = 0.1


class Load(grpc.GenericRpcHandler):
    """Counts RPCs, and streams what share of a CPU they take.

    Attributes:
        requests: How many RPCs there were. The method that serves an RPC counts it here.
    """

    def __init__(self) -> None:
        self.requests = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[LoadReportRequest, LoadReport] | None":
        """See `grpc.GenericRpcHandler`."""
        if handler_call_details.method != _METHOD:
            return None
        return grpc.unary_stream_rpc_method_handler(
            self._stream,
            request_deserializer=LoadReportRequest.FromString,
            response_serializer=LoadReport.SerializeToString,
        )

    async def _stream(
        self, request: LoadReportRequest, _context: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[LoadReport]:
        period = max(_LEAST_PERIOD, request.report_interval.ToTimedelta().total_seconds())
        requests, busy, since = self.requests, time.process_time(), time.monotonic() - period
        while True:
            now, so_far, used = time.monotonic(), self.requests, time.process_time()
            passed = now - since
            yield LoadReport(
                rps_fractional=(so_far - requests) / passed,
                cpu_utilization=(used - busy) / passed,
            )
            requests, busy, since = so_far, used, now
            await asyncio.sleep(period)
