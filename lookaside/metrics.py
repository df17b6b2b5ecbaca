"""The metrics of one process, on a registry of their own.

Children of labelled metrics are kept: looking one up costs three times what counting does.
"""

import math
import platform
import time
from collections.abc import Callable, Iterable
from typing import Final

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from lookaside.model import CallCounts, ServiceName
from lookaside.policy.service_config import SERVICE_CONFIG
from lookaside.policy.weights import WEIGHT, WEIGHTS

DOORS: Final = ("LoadBalancer", "Health", "Reflection", "grpclb", "AggregatedDiscoveryService")
"""What streams belong to: gRPC services that have any, and the door of a policy."""

XDS_CLIENTS: Final = ("c-core", "go", "java", "node", "envoy", "other")
"""What clients of xDS are built of."""
XDS_TYPES: Final = ("cluster", "endpoints", "listener", "route")
"""The types of resources of xDS."""

_PROPAGATION_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REQUEST_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

_ANNOTATIONS: Final = (
    ("Service", WEIGHTS),
    ("Service", SERVICE_CONFIG),
    ("EndpointSlice", WEIGHT),
    ("Pod", WEIGHT),
)
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "INTERNAL", "UNAVAILABLE"),
    "UNAUTHENTICATED",
)
UNARY_METHODS: Final = ("GetServers", "ListServices", "Explain")
METHODS: Final = (
    *UNARY_METHODS,
    *("WatchServers", "BalanceLoad", "Check", "List", "Watch", "ServerReflectionInfo"),
    *("StreamAggregatedResources", "DeltaAggregatedResources"),
)


class Metrics:
    """The service's metrics. Satisfies the observers of sources, store and API.

    Every method is cheap, never raises, and belongs to the event loop's thread.

    Args:
        version: The version of the service, for ``lookaside_build_info``.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, version: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._started = clock()
        self._contacts: dict[str, float] = {}
        self._contact_counts: dict[str, Counter] = {}
        self._totals: dict[str, tuple[Gauge, Gauge, Counter]] = {}
        self._requests: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}

        self._services = Gauge(
            "lookaside_services", "Services known.", ["source"], registry=self.registry
        )
        self._endpoints = Gauge(
            "lookaside_endpoints", "Endpoints known.", ["source"], registry=self.registry
        )
        self._changes = Counter(
            "lookaside_changes",
            "Changes that a source made to what is served.",
            ["source"],
            registry=self.registry,
        )
        self._source_contacts = Counter(
            "lookaside_source_contacts",
            "Times that a source confirmed its view: lists, events and bookmarks.",
            ["source"],
            registry=self.registry,
        )
        self._snapshots = Gauge(
            "lookaside_snapshots",
            "Lists that are kept ready to be sent: one for each port and kind of client.",
            registry=self.registry,
        )
        self._source_age = Gauge(
            "lookaside_source_last_contact_age_seconds",
            "Time since a source last confirmed its view; since the start, if it never has.",
            ["source"],
            registry=self.registry,
        )
        self._source_errors = Counter(
            "lookaside_source_errors",
            "Failures of a source.",
            ["source", "reason"],
            registry=self.registry,
        )
        self._source_stale = Gauge(
            "lookaside_source_stale",
            "1 while a source confirmed nothing for longer than it may, else 0.",
            ["source"],
            registry=self.registry,
        )
        self._ready = Gauge(
            "lookaside_ready",
            "1 once a source's first list is in, else 0.",
            ["source"],
            registry=self.registry,
        )
        self._refused = Counter(
            "lookaside_refused_annotations",
            "Annotations that turned out malformed and are not used.",
            ["kind", "annotation"],
            registry=self.registry,
        )
        self._watchers = Gauge("lookaside_watchers", "Open watches.", registry=self.registry)
        self._pushes = Counter(
            "lookaside_pushes", "Messages written to watches.", registry=self.registry
        )
        self._superseded = Counter(
            "lookaside_superseded",
            "Lists that a watch was not sent, since a newer one came before it took them.",
            registry=self.registry,
        )
        self._reported_calls = Counter(
            "lookaside_reported_calls",
            "Calls that clients reported, by what became of them; asked for by --load-reports.",
            ["service_name", "event"],
            registry=self.registry,
        )
        self._propagation = Histogram(
            "lookaside_propagation_seconds",
            "Time from a change at the source to its last write to a watch.",
            buckets=_PROPAGATION_BUCKETS,
            registry=self.registry,
        )
        self._request_counts = Counter(
            "lookaside_requests",
            "Calls that ended, watches among them.",
            ["method", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "lookaside_request_seconds",
            "Time that calls took, without watches.",
            ["method"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._clients = Gauge(
            "lookaside_clients",
            "Connections that have a stream open, by what it is of.",
            ["door"],
            registry=self.registry,
        )
        self._refused_streams = Counter(
            "lookaside_refused_streams",
            "Streams refused since as many were open as are taken, in all or from one host.",
            ["door", "bound"],
            registry=self.registry,
        )
        self._xds_refused = Counter(
            "lookaside_xds_refused_resources",
            "Responses of xDS that a client refused, by what it is built of and their type.",
            ["client", "type"],
            registry=self.registry,
        )
        self._xds_withheld = Counter(
            "lookaside_xds_withheld_resources",
            "Lists not sent by xDS since this kind of client might refuse them.",
            ["client"],
            registry=self.registry,
        )
        # A counter that is born at 1 has no increase: rate() and increase() would miss the first.
        for kind, annotation in _ANNOTATIONS:
            self._refused.labels(kind, annotation)
        for method in METHODS:
            for code in _CODES:
                self._requests[method, code] = self._request_counts.labels(method, code)
        for method in UNARY_METHODS:
            self._durations[method] = self._request_seconds.labels(method)
        for kind in XDS_CLIENTS:
            self._xds_withheld.labels(kind)
            for resource in XDS_TYPES:
                self._xds_refused.labels(kind, resource)
        for door in DOORS:
            self._clients.labels(door)
            for bound in ("total", "host"):
                self._refused_streams.labels(door, bound)
        self._loop_lag = Histogram(
            "lookaside_loop_lag_seconds",
            "How much later than due the event loop did what was due, asked ten times a second.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self._certificate_end = Gauge(
            "lookaside_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, in seconds since 1970; NaN without TLS.",
            registry=self.registry,
        )
        self._certificate_end.set(math.nan)
        self._malformed = Counter(
            "lookaside_malformed_admin_requests",
            "Requests to the admin port that are no HTTP.",
            registry=self.registry,
        )
        Info("lookaside_build", "What runs.", registry=self.registry).info(
            {
                "version": version,
                "python": platform.python_version(),
                "grpcio": grpc.__version__,
            }
        )
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics as text, and its content type.

        Args:
            accept: The request's Accept header: OpenMetrics where it asks for it, else Prometheus.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def follow_snapshots(self, count: Callable[[], int]) -> None:
        """Have the number of snapshots asked for whenever metrics are shown."""
        self._snapshots.set_function(count)

    def expect(self, source: str, reasons: Iterable[str] = ()) -> None:
        """Show a source from the start.

        Args:
            source: Its name.
            reasons: The words of all that can fail.
        """
        self._source_age.labels(source).set_function(
            lambda: self._clock() - self._contacts.get(source, self._started)
        )
        self._contact_counts[source] = self._source_contacts.labels(source)
        self._totals[source] = (
            self._services.labels(source),
            self._endpoints.labels(source),
            self._changes.labels(source),
        )
        self._source_stale.labels(source).set(0)
        self._ready.labels(source).set(0)
        for reason in reasons:
            self._source_errors.labels(source, reason)

    def source_synced(self, source: str) -> None:
        """A source's first list is in."""
        self._ready.labels(source).set(1)

    def source_contact(self, source: str) -> None:
        """A source confirmed its view just now."""
        if source not in self._totals:
            self.expect(source)
        self._contacts[source] = self._clock()
        self._contact_counts[source].inc()

    def source_error(self, source: str, reason: str) -> None:
        """A source failed; the reason is one of a few fixed words."""
        self._source_errors.labels(source, reason).inc()

    def refused(self, kind: str, annotation: str) -> None:
        """An annotation is not used; the kind is of its object, and both are a few fixed words."""
        self._refused.labels(kind, annotation).inc()

    def source_stale(self, source: str, stale: bool) -> None:
        """A source became stale, or fresh again."""
        self._source_stale.labels(source).set(stale)

    def services(self, source: str, count: int, endpoints: int) -> None:
        """What a source serves has changed.

        Args:
            source: The source.
            count: How many services it has now.
            endpoints: How many endpoints they have together.
        """
        if source not in self._totals:
            self.expect(source)
        totals = self._totals[source]
        totals[0].set(count)
        totals[1].set(endpoints)
        totals[2].inc()

    def watch_opened(self) -> None:
        """A watch began."""
        self._watchers.inc()

    def watch_closed(self) -> None:
        """A watch ended, for whatever reason."""
        self._watchers.dec()

    def pushed(self) -> None:
        """A message was written to a watch."""
        self._pushes.inc()

    def clients(self, door: str, count: int) -> None:
        """The number of connections with an open stream changed, by the kind of stream."""
        self._clients.labels(door).set(count)

    def loop_lag(self, seconds: float) -> None:
        """The event loop did something so much later than it was due."""
        self._loop_lag.observe(seconds)

    def malformed(self) -> None:
        """A request to the admin port could not be read."""
        self._malformed.inc()

    def certificate_ends(self, at: float) -> None:
        """The certificate that is served with ends then, in seconds since 1970. In any thread."""
        self._certificate_end.set(at)

    def stream_refused(self, door: str, bound: str) -> None:
        """A stream was refused by a bound, ``total`` or ``host``."""
        self._refused_streams.labels(door, bound).inc()

    def calls_reported(self, service: ServiceName, counts: CallCounts) -> None:
        """A client reported what its calls to a service came to since it did so last."""
        for event in CallCounts.__struct_fields__:
            self._reported_calls.labels(str(service), event).inc(getattr(counts, event))

    def xds_refused(self, kind: str, resource: str) -> None:
        """A client of this kind refused a response with resources of this type."""
        self._xds_refused.labels(kind, resource).inc()

    def xds_withheld(self, kind: str) -> None:
        """A list was not sent by xDS, since this kind of client might refuse it."""
        self._xds_withheld.labels(kind).inc()

    def superseded(self) -> None:
        """A list was replaced by a newer one before its watch took it."""
        self._superseded.inc()

    def propagated(self, seconds: float) -> None:
        """A change was written to the last of its watches, so long after the source saw it."""
        self._propagation.observe(seconds)

    def request(self, method: str, code: str, seconds: float | None = None) -> None:
        """A call ended.

        Args:
            method: The name of the method, such as GetServers.
            code: The name of the status code, such as OK or NOT_FOUND.
            seconds: How long it took; None for a watch.
        """
        count = self._requests.get((method, code))
        if count is None:
            count = self._requests[method, code] = self._request_counts.labels(method, code)
        count.inc()
        if seconds is None:
            return
        duration = self._durations.get(method)
        if duration is None:
            duration = self._durations[method] = self._request_seconds.labels(method)
        duration.observe(seconds)
