"""The Grafana dashboard: its panels as a table, and the JSON that Grafana reads.

A service may have thousands of backends, and a cluster thousands of services: the panels of clients
show the targets that are chosen, and of their backends those that stand out. The queries that go
over everything are in a row that is closed, which Grafana asks for only once it is opened.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal

Json = dict[str, object]

_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 3
_WIDTH: Final = 24 // _COLUMNS
_HEIGHT: Final = 8


@dataclass(frozen=True)
class Panel:
    """A panel of lines over time.

    Attributes:
        title: What it shows.
        queries: PromQL by what the legend says of it.
        text: What to read from it.
        unit: Grafana's name of the unit.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    text: str
    unit: Literal["reqps", "short", "s", "bytes", "ops"] = "short"


@dataclass(frozen=True)
class Row:
    """A row of panels, below a title.

    Attributes:
        title: What the panels are about.
        panels: The panels.
        closed: Whether the row is to be opened before its panels are shown, and asked for.
    """

    title: str
    panels: Sequence[Panel]
    closed: bool = False


def _quantile(share: float, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({share}, sum(rate({metric}_bucket{where}[5m])) by ({by}))"


_SERVED: Final = '{namespace=~"$namespace"}'
_CHOSEN: Final = '{target=~"$target"}'
_RATES: Final = f"sum(rate(grpc_client_requests_total{_CHOSEN}[5m])) by (target, backend)"
_SHARE: Final = (
    f"{_RATES} / on (target, backend) "
    f"(avg(grpc_client_backend_weight{_CHOSEN}) by (target, backend) > 0)"
)

ROWS: Final[Sequence[Row]] = (
    Row(
        "Requests of the clients",
        (
            Panel(
                "Requests per backend",
                [
                    (
                        "{{backend}}",
                        (
                            f"topk(20, sum(rate(grpc_client_requests_total{_CHOSEN}[5m])) "
                            "by (backend))"
                        ),
                    )
                ],
                "Ended attempts per second, including retries, of the twenty busiest backends.",
                "reqps",
            ),
            Panel(
                "Spread of requests",
                [
                    (f"{{{{target}}}} {word}", f"{function}({_RATES}) by (target)")
                    for function, word in (("min", "least"), ("avg", "mean"), ("max", "most"))
                ],
                "Requests of the least busy, the mean and the busiest backend.",
                "reqps",
            ),
            Panel(
                "Imbalance",
                [
                    (
                        "{{target}}",
                        f"max({_SHARE}) by (target) / avg({_SHARE}) by (target)",
                    )
                ],
                "Requests of the busiest backend per weight, relative to the mean. 1 is even.",
            ),
            Panel(
                "Failed attempts",
                [
                    (
                        "{{backend}} {{code}}",
                        (
                            'topk(20, sum(rate(grpc_client_requests_total{target=~"$target", '
                            'code!="OK"}[5m])) by (backend, code))'
                        ),
                    )
                ],
                "By backend and status code, the top twenty.",
                "reqps",
            ),
            Panel(
                "Time of requests",
                [
                    (
                        f"{{{{target}}}} p{percent}",
                        _quantile(
                            percent / 100,
                            "grpc_client_request_duration_seconds",
                            "le, target",
                            _CHOSEN,
                        ),
                    )
                    for percent in (50, 99)
                ],
                "RPC latency for the application, including all attempts.",
                "s",
            ),
            Panel(
                "Failed requests",
                [
                    (
                        "{{target}} {{code}}",
                        f"sum(rate(grpc_client_failures_total{_CHOSEN}[5m])) by (target, code)",
                    )
                ],
                "Failures for the application, after all attempts.",
                "reqps",
            ),
            Panel(
                "Retries and hedges",
                [
                    (
                        f"{{{{target}}}} {word}",
                        f"sum(rate(grpc_client_{word}_total{_CHOSEN}[5m])) by (target)",
                    )
                    for word in ("retries", "hedges")
                ],
                "Attempts beyond the first.",
                "reqps",
            ),
        ),
    ),
    Row(
        "Connections and lists of the clients",
        (
            Panel(
                "Ready connections per backend",
                [
                    (
                        "{{backend}}",
                        (
                            'bottomk(20, sum(grpc_client_connection_state{target=~"$target", '
                            'state="READY"}) by (backend))'
                        ),
                    )
                ],
                "Every client keeps one to each backend. The twenty backends with the fewest.",
            ),
            Panel(
                "Connections by state",
                [("{{state}}", f"sum(grpc_client_connection_state{_CHOSEN}) by (state)")],
                "All connections of the target's clients to its backends.",
            ),
            Panel(
                "Requests in flight",
                [("{{backend}}", f"topk(20, sum(grpc_client_in_flight{_CHOSEN}) by (backend))")],
                "The twenty backends with the most requests in flight.",
            ),
            Panel(
                "Ejected backends",
                [
                    (
                        "{{backend}} is out",
                        f"topk(20, sum(grpc_client_ejected{_CHOSEN}) by (backend) > 0)",
                    ),
                    (
                        "{{backend}} ejections",
                        (
                            f"topk(20, sum(increase(grpc_client_ejections_total{_CHOSEN}[5m])) "
                            "by (backend) > 0)"
                        ),
                    ),
                ],
                "Number of clients that have ejected it, and number of ejections.",
            ),
            Panel(
                "Age of lists",
                [("{{target}}", f"max(grpc_client_list_age_seconds{_CHOSEN}) by (target)")],
                "The oldest list that a client uses. It grows while no balancer is reached.",
                "s",
            ),
            Panel(
                "Backends that clients know",
                [
                    (
                        f"{{{{target}}}} {word}",
                        f"{function}(grpc_client_list_backends{_CHOSEN}) by (target)",
                    )
                    for function, word in (("min", "fewest"), ("max", "most"))
                ],
                "The same for all clients, except for subsets and zones.",
            ),
            Panel(
                "Losses of the balancer",
                [
                    (
                        "{{target}}",
                        (
                            f"sum(increase(grpc_client_balancer_losses_total{_CHOSEN}[5m])) "
                            "by (target)"
                        ),
                    )
                ],
                "Each client of a replaced replica counts one loss, and no failed request.",
            ),
        ),
    ),
    Row(
        "The service",
        (
            Panel(
                "Watchers",
                [("{{pod}}", f"sum(lookaside_watchers{_SERVED}) by (pod)")],
                "Open watches of each replica.",
            ),
            Panel(
                "Propagation",
                [
                    (
                        f"p{percent}",
                        _quantile(percent / 100, "lookaside_propagation_seconds", "le", _SERVED),
                    )
                    for percent in (50, 99)
                ],
                "From a change at the source to its last write to a watch.",
                "s",
            ),
            Panel(
                "Age of the sources",
                [
                    (
                        "{{pod}} {{source}}",
                        f"max(lookaside_source_last_contact_age_seconds{_SERVED}) by (pod, source)",
                    )
                ],
                "Time since a source was confirmed. A quiet cluster confirms about once a minute.",
                "s",
            ),
            Panel(
                "Errors of the sources",
                [
                    (
                        "{{pod}} {{source}} {{reason}}",
                        (
                            f"sum(rate(lookaside_source_errors_total{_SERVED}[5m])) "
                            "by (pod, source, reason)"
                        ),
                    )
                ],
                "Lists stay while a source fails.",
                "ops",
            ),
            Panel(
                "Stale sources",
                [
                    (
                        "{{pod}} {{source}}",
                        f"max(lookaside_source_stale{_SERVED}) by (pod, source)",
                    )
                ],
                "1 while lists are marked stale. They stay served.",
            ),
            Panel(
                "Services, endpoints and kept lists",
                [
                    (word, f"max(lookaside_{word}{_SERVED})")
                    for word in ("services", "endpoints", "snapshots")
                ],
                "From the replica with the most.",
            ),
            Panel(
                "Changes and messages",
                [
                    (word, f"sum(rate(lookaside_{word}_total{_SERVED}[5m]))")
                    for word in ("changes", "pushes", "superseded")
                ],
                "Changes of sources, messages to watches, lists superseded before they were read.",
                "ops",
            ),
            Panel(
                "Calls",
                [
                    (
                        "{{method}} {{code}}",
                        f"sum(rate(lookaside_requests_total{_SERVED}[5m])) by (method, code)",
                    )
                ],
                "Calls that ended. A watch ends at max_watch_age, or with its replica.",
                "reqps",
            ),
            Panel(
                "Time of calls",
                [
                    (
                        "{{method}} p99",
                        _quantile(0.99, "lookaside_request_seconds", "le, method", _SERVED),
                    )
                ],
                "Without watches.",
                "s",
            ),
            Panel(
                "Refused annotations",
                [
                    (
                        "{{kind}} {{annotation}}",
                        (
                            f"sum(increase(lookaside_refused_annotations_total{_SERVED}[5m])) "
                            "by (kind, annotation)"
                        ),
                    )
                ],
                "Each is refused alone; its last good value stays in use.",
            ),
            Panel(
                "CPU",
                [
                    (
                        "{{pod}}",
                        (
                            'sum(rate(process_cpu_seconds_total{namespace=~"$namespace"}[5m]) '
                            "* on (namespace, pod) group_left() lookaside_build_info) by (pod)"
                        ),
                    )
                ],
                "Cores in use.",
            ),
            Panel(
                "Memory",
                [
                    (
                        "{{pod}}",
                        (
                            'sum(process_resident_memory_bytes{namespace=~"$namespace"} '
                            "* on (namespace, pod) group_left() lookaside_build_info) by (pod)"
                        ),
                    )
                ],
                "Resident.",
                "bytes",
            ),
        ),
    ),
    Row(
        "Every backend of every target",
        (
            Panel(
                "Requests per backend over time",
                [("{{backend}}", "sum(rate(grpc_client_requests_total[5m])) by (backend)")],
                "A line for each backend that a client knows.",
                "reqps",
            ),
            Panel(
                "Connection distribution",
                [("{{backend}}", 'sum(grpc_client_connection_state{state="READY"}) by (backend)')],
                "A line for each backend that a client knows.",
            ),
        ),
        closed=True,
    ),
)


def dashboard() -> Json:
    """Return the dashboard as Grafana reads it."""
    return {
        "uid": "lookaside",
        "title": "Lookaside",
        "description": "Requests by backend, and the balancer that lists the backends.",
        "tags": ["grpc", "lookaside"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource(), _target(), _namespace()]},
        "panels": list(_panels()),
    }


def _datasource() -> Json:
    return {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"}


def _target() -> Json:
    # Without "All": Grafana begins with the first.
    return _query("target", "Target of the clients", "grpc_client_list_backends")


def _namespace() -> Json:
    every = {"includeAll": True, "current": {"text": ["All"], "value": ["$__all"]}}
    return _query("namespace", "Namespace of the service", "lookaside_build_info") | every


def _query(name: str, label: str, metric: str) -> Json:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
    }


def _panels() -> Iterator[Json]:
    ids = count(1)
    y = 0
    for row in ROWS:
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        head: Json = {"id": next(ids), "type": "row", "title": row.title, "gridPos": place}
        y += 1
        panels: list[Json] = []
        for index, panel in enumerate(row.panels):
            line, column = divmod(index, _COLUMNS)
            place = {"x": column * _WIDTH, "y": y + line * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            panels.append(_panel(panel, next(ids), place))
        y += _HEIGHT * -(-len(panels) // _COLUMNS)
        yield head | {"collapsed": row.closed, "panels": panels if row.closed else []}
        if not row.closed:
            yield from panels


def _panel(panel: Panel, number: int, place: dict[str, int]) -> Json:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "gridPos": place,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }
