"""The dashboard and the alerts: every query parses, and names what the code exports."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.exported import SCRAPED, exported
from tests.chart.queries import grouped_by, misnamed, uses
from tests.chart.values import CHART, load

_EXPORTED: Final = exported()
_ARTICLE: Final = (
    "sum(rate(grpc_client_requests_total[5m])) by (backend)",
    'sum(grpc_client_connection_state{state="READY"}) by (backend)',
)
"""The queries of the article's section "Grafana Dashboard Query"."""

_SUBJECTS: Final = {
    "rate per backend": "grpc_client_requests_total",
    "connections by state": "grpc_client_connection_state",
    "imbalance": "grpc_client_backend_weight",
    "list age": "grpc_client_list_age_seconds",
    "propagation time": "lookaside_propagation_seconds_bucket",
    "ejections": "grpc_client_ejections_total",
    "watchers": "lookaside_watchers",
    "source errors": "lookaside_source_errors_total",
}


def _dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CHART / "dashboards" / "lookaside.json").read_text())
    return read


def _panels() -> Iterator[dict[str, Any]]:
    """Give every panel, the rows and what is in closed ones among them."""
    for panel in _dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", [])


def _panel_queries() -> Iterator[tuple[str, str, str]]:
    for panel in _panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], target["legendFormat"]


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((CHART / "rules" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    ("title", "query", "legend"), list(_panel_queries()), ids=lambda value: str(value)[:40]
)
def test_a_panel_names_metrics_and_labels_that_are_exported(
    title: str, query: str, legend: str
) -> None:
    assert uses(query), title
    assert misnamed(query, _EXPORTED) == []
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= grouped_by(query)


def test_the_articles_queries_are_among_the_dashboards() -> None:
    queries = [query for _, query, _ in _panel_queries()]
    assert set(_ARTICLE) <= set(queries)


def test_the_dashboard_has_each_subject() -> None:
    named = {use.metric for _, query, _ in _panel_queries() for use in uses(query)}
    assert {subject for subject, metric in _SUBJECTS.items() if metric not in named} == set()


def test_what_is_open_asks_for_the_chosen_targets_alone_and_few_backends() -> None:
    for panel in _dashboard()["panels"]:
        for query in (target["expr"] for target in panel.get("targets", [])):
            of_clients = [use for use in uses(query) if use.metric.startswith("grpc_client_")]
            assert all("target" in use.labels for use in of_clients), query
            if "backend" in grouped_by(query):
                assert query.startswith(("topk(20, ", "bottomk(20, ")), query


def test_only_what_is_open_stands_beside_its_row() -> None:
    rows = [panel for panel in _dashboard()["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows if row["collapsed"]] == ["Every backend of every target"]
    assert all(bool(row["panels"]) is row["collapsed"] for row in rows)


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = list(_panels())
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", _alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_metrics_and_labels_that_are_exported(rule: dict[str, Any]) -> None:
    assert misnamed(rule["expr"], _EXPORTED) == []
    told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert told <= grouped_by(rule["expr"])
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}


def test_alerts_have_names_of_their_own_and_those_left_out_exist() -> None:
    names = [rule["alert"] for rule in _alerts()]
    assert len(set(names)) == len(names)
    disabled = load(CHART / "ci" / "monitoring-values.yaml")["prometheusRule"]["disabled"]
    assert set(disabled) <= set(names)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum(lookaside_watchers)", []),
        ("sum(lookaside_watcher)", ["lookaside_watcher"]),
        ("sum by (zone) (grpc_client_requests_total)", ["grpc_client_requests_total{zone}"]),
        ('grpc_client_in_flight{method="a"}', ["grpc_client_in_flight{method}"]),
        ("lookaside_pushes", ["lookaside_pushes"]),
        ("histogram_quantile(0.5, sum(rate(lookaside_request_seconds_bucket[5m])) by (le))", []),
        ("sum by (pod) (lookaside_services) / on (source) lookaside_endpoints", []),
    ],
)  # fmt: skip
def test_what_is_not_exported_is_found(query: str, wrong: list[str]) -> None:
    assert misnamed(query, _EXPORTED) == wrong


def test_no_exported_metric_has_a_label_that_scraping_overwrites() -> None:
    overwritten = SCRAPED | {"container", "endpoint", "service"}
    assert {name for name, labels in _EXPORTED.items() if labels & overwritten} == set()


def test_the_chart_has_the_version_of_the_service(pytestconfig: pytest.Config) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (Path(pytestconfig.rootpath) / "pyproject.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
