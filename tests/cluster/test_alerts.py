"""Each alert and panel of the service, run by promtool on series as the service exports them."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from lookaside.metrics import Metrics
from tests.chart.queries import uses
from tests.chart.values import CHART
from tests.cluster.harness import Binaries

MINUTE: Final = 60.0
SOURCE: Final = "kubernetes"
REASONS: Final = ("forbidden", "unreachable", "silent", "broken")
_RULES: Final = CHART / "rules" / "alerts.yaml"


class Pod:
    """A replica: its metrics, by a clock of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 1_000.0
        self.metrics = Metrics("1", clock=lambda: self.now)
        self.metrics.expect(SOURCE, REASONS)

    def synced(self) -> "Pod":
        self.metrics.source_synced(SOURCE)
        self.metrics.source_contact(SOURCE)
        self.metrics.services(SOURCE, 1, 2)
        return self

    def watched(self, watches: int) -> "Pod":
        for _ in range(watches):
            self.metrics.watch_opened()
        return self


Step = Callable[[int, dict[str, Pod]], None]
"""Changes what runs in a minute: Pods come and go, and things happen to them."""


def quiet(minute: int, pods: dict[str, Pod]) -> None:
    """Two replicas that do their work."""
    if minute == 0:
        pods.update({name: Pod(name) for name in ("a", "b")})
        return
    for pod in pods.values():
        if minute == 1:
            pod.synced().watched(150)
        pod.metrics.source_contact(SOURCE)
        pod.metrics.propagated(0.002)
        pod.metrics.pushed()
        for _ in range(50):
            pod.metrics.request("GetServers", "OK", 0.001)


def then(minute: int, change: Step) -> Step:
    """The quiet service, to which something happens from a minute on."""

    def step(now: int, pods: dict[str, Pod]) -> None:
        quiet(now, pods)
        if now >= minute:
            change(now, pods)

    return step


def once(minute: int, change: Callable[[Pod], None]) -> Step:
    """The quiet service, to whose first replica something happens once."""

    def step(now: int, pods: dict[str, Pod]) -> None:
        if now == minute:
            change(pods["a"])

    return then(minute, step)


def failing(word: str) -> Step:
    def step(now: int, pods: dict[str, Pod]) -> None:
        for _ in range(4):
            pods["a"].metrics.source_error(SOURCE, word)

    return step


def rollout(now: int, pods: dict[str, Pod]) -> None:
    if now == 10:
        pods["c"], pods["d"] = Pod("c"), Pod("d")
    elif now == 11:
        for name in ("c", "d"):
            pods[name].synced().watched(150)
        pods.pop("a", None)
        pods.pop("b", None)


def outage(now: int, pods: dict[str, Pod]) -> None:
    """Three minutes without an API server."""
    for pod in pods.values():
        if now < 13:
            for _ in range(30):
                pod.metrics.source_error(SOURCE, "unreachable")
        pod.metrics.source_stale(SOURCE, stale=now == 12)


def never_synced(minute: int, pods: dict[str, Pod]) -> None:
    if minute == 0:
        pods["a"] = Pod("a")
    for _ in range(2):
        pods["a"].metrics.source_error(SOURCE, "forbidden")


def gone(now: int, pods: dict[str, Pod]) -> None:
    pods.clear()


def slow(now: int, pods: dict[str, Pod]) -> None:
    for pod in pods.values():
        pod.metrics.propagated(4.0)


def broken(now: int, pods: dict[str, Pod]) -> None:
    for _ in range(5):
        pods["b"].metrics.request("GetServers", "INTERNAL", 0.001)


def refuse_one(pod: Pod) -> None:
    pod.metrics.refused("Service", "lookaside.dev/weights")


def uneven(minute: int, pods: dict[str, Pod]) -> None:
    quiet(minute, pods)
    if minute == 2:
        pods["a"].watched(850)


SCENARIOS: Final[Mapping[str, tuple[Step, Mapping[int, Sequence[str]]]]] = {
    "nothing happens": (quiet, {1: [], 5: [], 20: [], 150: []}),
    "a rollout": (then(10, rollout), {10: [], 12: [], 20: [], 150: []}),
    "an outage of three minutes": (then(10, outage), {11: [], 13: [], 20: [], 60: []}),
    "an outage that lasts": (
        then(10, failing("unreachable")),
        {12: [], 30: ["LookasideSourceErrors"]},
    ),
    "a scale to zero": (then(10, gone), {11: [], 25: ["LookasideDown"]}),
    "never a scrape": (lambda minute, pods: None, {1: [], 6: ["LookasideDown"]}),
    "never synced": (
        never_synced,
        {3: [], 6: ["LookasideNotReady"], 20: ["LookasideNotReady", "LookasideSourceErrors"]},
    ),
    "stale": (
        then(10, lambda now, pods: pods["a"].metrics.source_stale(SOURCE, stale=True)),
        {10: [], 12: ["LookasideSourceStale"], 30: ["LookasideSourceStale"]},
    ),
    "the first refused annotation": (
        once(10, refuse_one),
        {9: [], 11: ["LookasideRefusedAnnotations"], 20: ["LookasideRefusedAnnotations"], 40: []},
    ),
    "a failure now and then": (
        once(10, lambda pod: pod.metrics.source_error(SOURCE, "silent")),
        {11: [], 20: [], 40: []},
    ),
    "slow propagation": (then(10, slow), {15: [], 40: ["LookasideSlowPropagation"]}),
    "failing requests": (then(10, broken), {15: [], 40: ["LookasideFailingRequests"]}),
    "uneven watches": (uneven, {60: [], 140: ["LookasideUnevenWatchers"]}),
}


def samples(pod: Pod) -> Iterator[tuple[str, float]]:
    """Yield each series of a replica, by its name and labels, with its value now."""
    for family in pod.metrics.registry.collect():
        if not family.name.startswith("lookaside"):
            continue
        for sample in family.samples:
            labels = sample.labels | {"namespace": "lookaside", "pod": pod.name}
            inner = ",".join(f"{name}={json.dumps(text)}" for name, text in labels.items())
            yield f"{sample.name}{{{inner}}}", sample.value


def scraped(step: Step, minutes: int) -> dict[str, list[str]]:
    """Scrape once a minute, and return the values of each series; _ where it is not there."""
    series: dict[str, list[str]] = {}
    pods: dict[str, Pod] = {}
    for minute in range(minutes + 1):
        step(minute, pods)
        for pod in pods.values():
            for name, value in samples(pod):
                values = series.setdefault(name, [])
                values += ["_"] * (minute - len(values)) + [f"{value:g}"]
            pod.now += MINUTE
    return series


def evaluate(
    binaries: Binaries, folder: Path, step: Step, checks: Sequence[Mapping[str, Any]]
) -> None:
    """Have promtool evaluate the rules over a scenario and hold queries against it."""
    last = max(int(check["eval_time"].removesuffix("m")) for check in checks)
    inputs = [
        {"series": name, "values": " ".join(values)} for name, values in scraped(step, last).items()
    ]
    document = {
        "rule_files": [str(_RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": inputs, "promql_expr_test": list(checks)},
        ],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [binaries.promtool, "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_alerts_fire_when_they_must_and_not_else(
    binaries: Binaries, tmp_path: Path, scenario: str
) -> None:
    step, expected = SCENARIOS[scenario]
    query = 'group by (alertname) (ALERTS{alertstate="firing"})'
    checks = [
        {
            "expr": query,
            "eval_time": f"{minute}m",
            "exp_samples": [
                {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)
            ],
        }
        for minute, firing in expected.items()
    ]
    evaluate(binaries, tmp_path, step, checks)


def test_each_alert_of_the_service_fires_in_some_scenario() -> None:
    groups = yaml.safe_load(_RULES.read_text())["groups"]
    [service] = [group for group in groups if group["name"] == "lookaside-service"]
    fired = {name for _, checks in SCENARIOS.values() for each in checks.values() for name in each}
    assert fired == {rule["alert"] for rule in service["rules"]}


def panels() -> Iterator[tuple[str, str]]:
    """Yield the queries of the dashboard that are about the service."""
    dashboard = json.loads((CHART / "dashboards" / "lookaside.json").read_text())
    for panel in dashboard["panels"]:
        for each in [panel, *panel.get("panels", [])]:
            for target in each.get("targets", []):
                if all(use.metric.startswith("lookaside_") for use in uses(target["expr"])):
                    yield each["title"], target["expr"].replace("$namespace", ".*")


def test_each_panel_of_the_service_shows_something_from_the_first_minutes_on(
    binaries: Binaries, tmp_path: Path
) -> None:
    queries = list(panels())
    assert len(queries) >= 5
    checks = [
        {
            "expr": f"count({query}) > bool 0",
            "eval_time": "6m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, query in queries
    ]
    evaluate(binaries, tmp_path, quiet, checks)
