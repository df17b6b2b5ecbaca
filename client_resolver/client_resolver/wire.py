"""Between the wire's messages and the core's values."""

import binascii
from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from client_resolver._pb import lookaside_pb2, orca_pb2
from client_resolver.core.address import parse_address
from client_resolver.core.delta import Delta
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Endpoint, ListState, Revision, ServerList, SetAside

__all__ = [
    "LOAD_REPORT",
    "LOAD_REPORT_TEXT",
    "LOAD_STREAM",
    "load_report",
    "load_report_text",
    "load_request",
    "read",
    "watch_on",
]

LOAD_REPORT = "endpoint-load-metrics-bin"
"""The trailing metadata that carries a server's load report (gRFC A51). C-core, up to 1.85 at
least, keeps it to itself: applications in Python never see it."""

LOAD_REPORT_TEXT = "endpoint-load-metrics"
"""The same for servers that write text, as Envoy reads it too. C-core passes it on."""

LOAD_STREAM = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
"""The method whose responses are a server's load reports, out of band (gRFC A51)."""

_WATCH = "/lookaside.LoadBalancer/WatchServers"
_NUMBERS = frozenset(
    {"application_utilization", "cpu_utilization", "eps", "mem_utilization", "rps_fractional"}
)


T_co = TypeVar("T_co", covariant=True)


class _Channel(Protocol[T_co]):
    """Either shell's channel, as far as a watch needs it."""

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[lookaside_pb2.WatchServersRequest], bytes],
        response_deserializer: None,
        /,
    ) -> T_co: ...


def watch_on(channel: _Channel[T_co]) -> T_co:
    """Return what begins a watch on a balancer's channel. Its messages are for `read`.

    It is not the stub's method, for gRPC tells nothing of a message that it can't decode: in aio,
    there is None in its place.
    """
    return channel.unary_stream(_WATCH, lookaside_pb2.WatchServersRequest.SerializeToString, None)


def read(raw: bytes) -> ServerList | Delta:
    """Read and check a message of a watch. What is malformed in it is set aside.

    Raises:
        DecodeError: It is no message at all.
    """
    message = lookaside_pb2.WatchServersResponse.FromString(raw)
    listed = _server_list(message)
    if not message.HasField("delta"):
        return listed
    delta = message.delta
    return Delta(delta.base, listed, tuple(map(_canonical, delta.removed)))


def load_request(period: float) -> bytes:
    """Make the request of `LOAD_STREAM` for a report every `period` seconds."""
    request = orca_pb2.LoadReportRequest()
    request.report_interval.FromTimedelta(timedelta(seconds=period))
    return request.SerializeToString()


def load_report(data: bytes, now: float) -> LoadReport | None:
    """Read an ORCA load report.

    Args:
        data: The value of `LOAD_REPORT`, or a response of `LOAD_STREAM`.
        now: When it came, in seconds on the monotonic clock.

    Returns:
        The report. None: it is malformed.
    """
    try:
        report = orca_pb2.LoadReport.FromString(data)
    except DecodeError:
        return None
    return _load_report(report, now)


def load_report_text(text: str, now: float) -> LoadReport | None:
    """Read an ORCA load report in one of the forms that Envoy knows.

    Args:
        text: The value of `LOAD_REPORT_TEXT`: `JSON {"cpu_utilization": 0.5}`,
            `TEXT cpu_utilization=0.5,utilization.gpu=0.25` or `BIN` and the message in base64.
        now: When it came, in seconds on the monotonic clock.

    Returns:
        The report. None: it is malformed.
    """
    form, _, content = text.partition(" ")
    report = orca_pb2.LoadReport()
    try:
        if form == "JSON" and content.lstrip().startswith("{"):
            json_format.Parse(content, report, ignore_unknown_fields=True)
        elif form == "TEXT":
            _read_pairs(content, report)
        elif form == "BIN":
            report.ParseFromString(b64decode(content, validate=True))
        else:
            return None
    except (ValueError, binascii.Error, json_format.ParseError, DecodeError):
        return None
    return _load_report(report, now)


def _read_pairs(text: str, report: orca_pb2.LoadReport) -> None:
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        number = float(value)
        if name.startswith("utilization."):
            report.utilization[name.removeprefix("utilization.")] = number
        elif name in _NUMBERS:
            setattr(report, name, number)


def _load_report(report: orca_pb2.LoadReport, now: float) -> LoadReport:
    return LoadReport(
        qps=report.rps_fractional,
        eps=report.eps,
        application_utilization=report.application_utilization,
        cpu_utilization=report.cpu_utilization,
        mem_utilization=report.mem_utilization,
        utilization=dict(report.utilization),
        received=now,
    )


def _server_list(message: lookaside_pb2.WatchServersResponse) -> ServerList:
    endpoints: dict[str, Endpoint] = {}
    set_aside: list[SetAside] = []
    for server in message.servers:
        try:
            endpoint = _endpoint(server)
        except ValueError as error:
            set_aside.append(SetAside(_canonical(server.address), str(error)))
            continue
        address = endpoint.address.text
        if address in endpoints:
            set_aside.append(SetAside(address, f"{server.address!r} is listed twice"))
        else:
            endpoints[address] = endpoint
    revision = message.revision
    return ServerList(
        endpoints=tuple(endpoints.values()),
        state=_state(message.state),
        revision=Revision(revision.digest, revision.version, revision.epoch),
        set_aside=tuple(set_aside),
        service_config=message.service_config,
    )


def _endpoint(server: lookaside_pb2.Server) -> Endpoint:
    if server.weight < 0:
        raise ValueError(f"{server.address!r} has the negative weight {server.weight}")
    return Endpoint(
        address=parse_address(server.address),
        weight=server.weight,
        metadata=tuple(sorted(server.metadata.items())),
        zone=server.locality.zone,
        node=server.locality.node,
    )


def _canonical(address: str) -> str:
    try:
        return parse_address(address).text
    except ValueError:
        return address


def _state(number: int) -> ListState:
    try:
        return ListState(number)
    except ValueError:
        # A state of a newer balancer: its list is taken at its word.
        return ListState.UNSPECIFIED
