"""Each alert and panel, run by promtool on series as the service and its clients export them."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import yaml
from prometheus_client import CollectorRegistry

from client_resolver.core.model import Connectivity, Revision
from client_resolver.core.snapshot import BackendSnapshot, ChannelSnapshot
from client_resolver.metrics import Prometheus
from client_resolver.telemetry.observer import Attempt
from lookaside.metrics import Metrics
from tests.chart.queries import uses
from tests.chart.values import CHART
from tests.cluster.harness import Binaries

MINUTE: Final = 60.0
DAY: Final = 24 * 60 * MINUTE
TARGET: Final = "lookaside://lb:50052/greeter"
METHOD: Final = "/t.Greeter/SayHello"
SOURCE: Final = "kubernetes"
REASONS: Final = ("forbidden", "unreachable", "silent", "broken")
_RULES: Final = CHART / "rules" / "alerts.yaml"


class Client:
    """A client with two backends: what its observer exports, as its channel tells it.

    Attributes:
        addresses: Its backends' addresses.
        age: For how long it has not known its list to be current, in seconds.
        listed: Whether its list has the backends.
        ejected: Whether they are ejected.
    """

    addresses = ("10.0.0.1:80", "10.0.0.2:80")

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 1_000.0
        self.age = 0.0
        self.listed = True
        self.ejected = False
        self.registry = CollectorRegistry()
        self.observer = Prometheus(self.registry, clock=lambda: self.now)
        self.observer.channel_started(TARGET, self._snapshot)

    def calls(self, address: str, times: int, code: str = "OK") -> None:
        for _ in range(times):
            self.observer.attempt_ended(Attempt(TARGET, METHOD, address, 0, False), code, 0.01)
            self.observer.rpc_ended(TARGET, METHOD, code, 0.01, 1)

    def eject(self) -> None:
        self.ejected = True
        self.observer.ejected(TARGET, self.addresses[0], 30.0, "five errors in a row")

    def _snapshot(self) -> ChannelSnapshot:
        backends = tuple(
            BackendSnapshot(
                address=address,
                connectivity=Connectivity.READY,
                weight=100,
                effective_weight=100,
                zone="",
                node="",
                level=0,
                in_flight=0,
                ejected_for=3.0 if self.ejected else None,
                draining=False,
                failing=False,
                last_error="",
                load=None,
            )
            for address in (self.addresses if self.listed else ())
        )
        return ChannelSnapshot(
            state=Connectivity.READY,
            waiting="",
            policy="round_robin",
            revision=Revision("a", 7, "e"),
            list_state=None,
            list_age=0.0,
            stale_for=self.age,
            balancer="",
            panic=False,
            settled=True,
            backends=backends,
        )


class Pod:
    """A replica: its metrics, by a clock of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 1_000.0
        self.metrics = Metrics("1", clock=lambda: self.now)
        self.metrics.expect(SOURCE, REASONS)
        self.registry = self.metrics.registry

    def synced(self) -> "Pod":
        self.metrics.source_synced(SOURCE)
        self.metrics.source_contact(SOURCE)
        self.metrics.services(SOURCE, 1, 2)
        return self

    def watched(self, watches: int) -> "Pod":
        for _ in range(watches):
            self.metrics.watch_opened()
        return self


S = TypeVar("S", Pod, Client)
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


def late(now: int, pods: dict[str, Pod]) -> None:
    for _ in range(600):
        pods["a"].metrics.loop_lag(0.6)


def expiring(minute: int, pods: dict[str, Pod]) -> None:
    """A certificate that ends in a week and an hour; the clock begins at 0."""
    quiet(minute, pods)
    if minute == 0:
        for pod in pods.values():
            pod.metrics.certificate_ends(7 * DAY + 60 * MINUTE)


def renewed(minute: int, pods: dict[str, Pod]) -> None:
    expiring(minute, pods)
    if minute == 90:
        for pod in pods.values():
            pod.metrics.certificate_ends(90 * DAY)


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
    "a loop that lags": (then(10, late), {12: [], 40: ["LookasideLoopLag"]}),
    "a loop that lagged once": (
        once(10, lambda pod: pod.metrics.loop_lag(2.0)),
        {11: [], 20: [], 40: []},
    ),
    "the first refused stream": (
        once(10, lambda pod: pod.metrics.stream_refused("Health", "host")),
        {9: [], 11: ["LookasideRefusedStreams"], 40: []},
    ),
    "a certificate that nobody renews": (
        expiring,
        {30: [], 90: [], 130: ["LookasideCertificateExpires"]},
    ),
    "a certificate that is renewed": (renewed, {89: [], 130: [], 150: []}),
    "uneven watches": (uneven, {60: [], 140: ["LookasideUnevenWatchers"]}),
}


ClientStep = Callable[[int, dict[str, Client]], None]
"""Changes what clients there are in a minute, and what happens to them."""


def calling(minute: int, clients: dict[str, Client]) -> None:
    """Two clients that spread their RPCs evenly."""
    if minute == 0:
        clients.update({name: Client(name) for name in ("a", "b")})
    for client in clients.values():
        for address in client.addresses:
            client.calls(address, 60)


def client_then(minute: int, change: Callable[[Client], None], until: int = 10_000) -> ClientStep:
    """The clients, to whose first something happens each minute from one to another."""

    def step(now: int, clients: dict[str, Client]) -> None:
        calling(now, clients)
        if minute <= now < until:
            change(clients["a"])

    return step


def client_rollout(minute: int, clients: dict[str, Client]) -> None:
    calling(minute, clients)
    if minute == 10:
        clients.clear()
        clients.update({name: Client(name) for name in ("c", "d")})


def older(client: Client) -> None:
    client.age += MINUTE


def without_backends(client: Client) -> None:
    client.listed = False


CLIENT_SCENARIOS: Final[Mapping[str, tuple[ClientStep, Mapping[int, Sequence[str]]]]] = {
    "nothing happens": (calling, {1: [], 10: [], 60: []}),
    "a rollout": (client_rollout, {10: [], 12: [], 20: [], 60: []}),
    "no client at all": (lambda minute, clients: None, {1: [], 60: []}),
    "a balancer that is away for three minutes": (
        client_then(10, older, until=13),
        {12: [], 16: [], 30: []},
    ),
    "a balancer that is away": (
        client_then(10, older),
        {14: [], 30: ["LookasideClientListOld"]},
    ),
    "no backends": (
        client_then(10, without_backends),
        {12: [], 20: ["LookasideClientWithoutBackends"]},
    ),
    "two ejections": (client_then(10, Client.eject, until=12), {11: [], 20: [], 30: []}),
    "three ejections": (
        client_then(10, Client.eject, until=13),
        {12: [], 20: ["LookasideBackendEjected"]},
    ),
    "load that goes to one": (
        client_then(10, lambda client: client.calls(Client.addresses[0], 600)),
        {20: [], 60: ["LookasideImbalance"]},
    ),
}


def samples(one: Pod | Client) -> Iterator[tuple[str, float]]:
    """Yield each series of a replica or client, by its name and labels, with its value now."""
    for family in one.registry.collect():
        if not family.name.startswith(("lookaside", "grpc_client")):
            continue
        for sample in family.samples:
            labels = sample.labels | {"namespace": "lookaside", "pod": one.name}
            inner = ",".join(f"{name}={json.dumps(text)}" for name, text in labels.items())
            yield f"{sample.name}{{{inner}}}", sample.value


def scraped(step: Callable[[int, dict[str, S]], None], minutes: int) -> dict[str, list[str]]:
    """Scrape once a minute, and return the values of each series; _ where it is not there."""
    series: dict[str, list[str]] = {}
    pods: dict[str, S] = {}
    for minute in range(minutes + 1):
        step(minute, pods)
        for pod in pods.values():
            for name, value in samples(pod):
                values = series.setdefault(name, [])
                values += ["_"] * (minute - len(values)) + [f"{value:g}"]
            pod.now += MINUTE
    return series


def evaluate(
    binaries: Binaries,
    folder: Path,
    step: Callable[[int, dict[str, S]], None],
    checks: Sequence[Mapping[str, Any]],
    group: str,
) -> None:
    """Have promtool evaluate the rules over a scenario and hold queries against it."""
    last = max(int(check["eval_time"].removesuffix("m")) for check in checks)
    inputs = [
        {"series": name, "values": " ".join(values)} for name, values in scraped(step, last).items()
    ]
    # Of the service alone, or of the clients: LookasideDown fires where none of the others is.
    groups = yaml.safe_load(_RULES.read_text())["groups"]
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [each for each in groups if each["name"] == group]}))
    document = {
        "rule_files": [str(rules)],
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


def hold(
    binaries: Binaries,
    folder: Path,
    step: Callable[[int, dict[str, S]], None],
    expected: Mapping[int, Sequence[str]],
    group: str,
) -> None:
    """Hold which alerts of a group fire in which minute of a scenario."""
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
    evaluate(binaries, folder, step, checks, group)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_alerts_fire_when_they_must_and_not_else(
    binaries: Binaries, tmp_path: Path, scenario: str
) -> None:
    hold(binaries, tmp_path, *SCENARIOS[scenario], "lookaside-service")


@pytest.mark.parametrize("scenario", CLIENT_SCENARIOS)
def test_alerts_of_clients_fire_when_they_must_and_not_else(
    binaries: Binaries, tmp_path: Path, scenario: str
) -> None:
    hold(binaries, tmp_path, *CLIENT_SCENARIOS[scenario], "lookaside-clients")


def test_each_alert_fires_in_some_scenario() -> None:
    groups = yaml.safe_load(_RULES.read_text())["groups"]
    scenarios = [*SCENARIOS.values(), *CLIENT_SCENARIOS.values()]
    fired = {name for _, checks in scenarios for each in checks.values() for name in each}
    assert fired == {rule["alert"] for group in groups for rule in group["rules"]}


def panels(prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the queries of the dashboard about metrics that begin so."""
    dashboard = json.loads((CHART / "dashboards" / "lookaside.json").read_text())
    for panel in dashboard["panels"]:
        for each in [panel, *panel.get("panels", [])]:
            for target in each.get("targets", []):
                if all(use.metric.startswith(prefix) for use in uses(target["expr"])):
                    yield (
                        each["title"],
                        target["expr"].replace("$namespace", ".*").replace("$target", ".*"),
                    )


def test_each_panel_of_the_service_shows_something_from_the_first_minutes_on(
    binaries: Binaries, tmp_path: Path
) -> None:
    show(binaries, tmp_path, quiet, "lookaside_", "lookaside-service")


def test_each_panel_of_clients_shows_something_from_the_first_minutes_on(
    binaries: Binaries, tmp_path: Path
) -> None:
    show(binaries, tmp_path, failing_now_and_then, "grpc_client_", "lookaside-clients")


def failing_now_and_then(minute: int, clients: dict[str, Client]) -> None:
    calling(minute, clients)
    for client in clients.values():
        client.calls(client.addresses[0], 1, "UNAVAILABLE")
        client.eject()


def show(
    binaries: Binaries,
    folder: Path,
    step: Callable[[int, dict[str, S]], None],
    prefix: str,
    group: str,
) -> None:
    """Hold that each query about such metrics has a result after six minutes."""
    queries = list(panels(prefix))
    assert len(queries) >= 5
    checks = [
        {
            "expr": f"count({query}) > bool 0",
            "eval_time": "6m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, query in queries
    ]
    evaluate(binaries, folder, step, checks, group)
