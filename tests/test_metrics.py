"""What the service counts of itself."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from lookaside.metrics import Metrics


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics("1.2.3", clock=clock)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_each_has_its_own_registry() -> None:
    one, other = Metrics("1"), Metrics("1")

    one.pushed()

    assert (value(one, "lookaside_pushes_total"), value(other, "lookaside_pushes_total")) == (1, 0)


def test_watches_and_messages_are_counted(metrics: Metrics) -> None:
    metrics.watch_opened()
    metrics.watch_opened()
    metrics.watch_closed()
    metrics.pushed()
    metrics.superseded()

    assert value(metrics, "lookaside_watchers") == 1
    assert value(metrics, "lookaside_pushes_total") == 1
    assert value(metrics, "lookaside_superseded_total") == 1


def test_snapshots_are_counted_when_they_are_asked_for(metrics: Metrics) -> None:
    held = [1, 2]
    metrics.follow_snapshots(lambda: len(held))
    assert value(metrics, "lookaside_snapshots") == 2
    held.append(3)
    assert value(metrics, "lookaside_snapshots") == 3


def test_what_a_source_serves_is_shown(metrics: Metrics) -> None:
    metrics.services("kubernetes", 3, 12)
    metrics.services("kubernetes", 2, 8)

    assert value(metrics, "lookaside_services", source="kubernetes") == 2
    assert value(metrics, "lookaside_endpoints", source="kubernetes") == 8
    assert value(metrics, "lookaside_changes_total", source="kubernetes") == 2


def test_the_age_of_a_contact_grows_until_the_next(metrics: Metrics, clock: Clock) -> None:
    age = "lookaside_source_last_contact_age_seconds"
    metrics.expect("k")
    clock.now += 3
    assert value(metrics, age, source="k") == 3

    metrics.source_contact("k")
    metrics.source_contact("other")
    clock.now += 7
    metrics.source_contact("other")

    assert value(metrics, age, source="k") == 7
    assert value(metrics, age, source="other") == 0
    assert value(metrics, "lookaside_source_contacts_total", source="other") == 2


def test_refused_annotations_are_counted_by_kind_and_name(metrics: Metrics) -> None:
    for _ in range(2):
        metrics.refused("Pod", "lookaside.dev/weight")

    total = "lookaside_refused_annotations_total"
    assert value(metrics, total, kind="Pod", annotation="lookaside.dev/weight") == 2


def test_failures_of_a_source_are_counted_by_reason(metrics: Metrics) -> None:
    metrics.source_error("k", "gone")
    metrics.source_error("k", "gone")
    metrics.source_stale("k", True)

    assert value(metrics, "lookaside_source_errors_total", source="k", reason="gone") == 2
    assert value(metrics, "lookaside_source_stale", source="k") == 1

    metrics.source_stale("k", False)

    assert value(metrics, "lookaside_source_stale", source="k") == 0


def test_calls_are_counted_by_code_and_timed_unless_they_are_watches(metrics: Metrics) -> None:
    metrics.request("GetServers", "OK", 0.002)
    metrics.request("GetServers", "NOT_FOUND", 0.001)
    metrics.request("WatchServers", "CANCELLED")

    def count(method: str, code: str) -> float | None:
        return value(metrics, "lookaside_requests_total", method=method, code=code)

    assert (count("GetServers", "OK"), count("WatchServers", "CANCELLED")) == (1, 1)
    assert value(metrics, "lookaside_request_seconds_count", method="GetServers") == 2
    assert value(metrics, "lookaside_request_seconds_count", method="WatchServers") is None


def test_propagation_has_buckets_from_half_a_millisecond_to_ten_seconds(metrics: Metrics) -> None:
    metrics.propagated(0.0004)
    metrics.propagated(0.3)

    def bucket(le: str) -> float | None:
        return value(metrics, "lookaside_propagation_seconds_bucket", le=le)

    assert [bucket(le) for le in ("0.0005", "0.25", "0.5", "10.0")] == [1, 1, 2, 2]


def test_build_process_and_collector_are_shown(metrics: Metrics) -> None:
    text = metrics.expose()[0].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert families["lookaside_build_info"].samples[0].labels["version"] == "1.2.3"
    assert {"process_resident_memory_bytes", "python_gc_collections"} <= families.keys()


def test_every_metric_of_its_own_has_the_prefix_and_a_help(metrics: Metrics) -> None:
    for family in metrics.registry.collect():
        if not family.name.startswith(("process_", "python_")):
            assert family.name.startswith("lookaside_")
            assert family.documentation


def test_every_series_of_a_known_label_is_there_from_the_start(metrics: Metrics) -> None:
    """Of one that is born at 1 no alert sees the increase, nor the first failure."""
    metrics.expect("k", {"broken", "silent"})
    there = {sample for family in metrics.registry.collect() for sample in map(key, family.samples)}
    metrics.source_error("k", "broken")
    metrics.source_contact("k")
    metrics.source_stale("k", True)
    metrics.source_synced("k")
    metrics.services("k", 1, 2)
    metrics.refused("Service", "lookaside.dev/weights")
    metrics.refused("Service", "lookaside.dev/service-config")
    metrics.refused("EndpointSlice", "lookaside.dev/weight")
    metrics.refused("Pod", "lookaside.dev/weight")
    metrics.request("GetServers", "INTERNAL", 0.1)
    metrics.request("WatchServers", "UNKNOWN")
    metrics.clients("Health", 1)
    metrics.stream_refused("LoadBalancer", "host")
    now = {sample for family in metrics.registry.collect() for sample in map(key, family.samples)}
    assert now - there == set()


def key(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())
