"""Load reports of backends (ORCA, gRFC A51): in trailing metadata, and on a stream of their own."""

import binascii
from base64 import b64decode
from datetime import timedelta

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from client_resolver._pb import orca_pb2
from client_resolver.core.load import LoadReport

__all__ = [
    "LOAD_REPORT",
    "LOAD_REPORT_TEXT",
    "LOAD_STREAM",
    "load_report",
    "load_report_text",
    "load_request",
]

LOAD_REPORT = "endpoint-load-metrics-bin"
"""The trailing metadata that carries a server's load report (gRFC A51). C-core, up to 1.85 at
least, keeps it to itself: applications in Python never see it."""

LOAD_REPORT_TEXT = "endpoint-load-metrics"
"""The same for servers that write text, as Envoy reads it too. C-core passes it on."""

LOAD_STREAM = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
"""The method whose responses are a server's load reports, out of band (gRFC A51)."""

_NUMBERS = frozenset(
    {"application_utilization", "cpu_utilization", "eps", "mem_utilization", "rps_fractional"}
)


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
