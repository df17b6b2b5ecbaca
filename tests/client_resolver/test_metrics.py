"""The metrics, scraped as Prometheus does."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from client_resolver.core.model import Connectivity, Revision
from client_resolver.core.snapshot import BackendSnapshot, ChannelSnapshot
from client_resolver.metrics import KEPT, Prometheus
from client_resolver.telemetry.observer import Attempt

TARGET = "lookaside://lb:50052/greeter"
METHOD = "/t.Greeter/SayHello"
ONE, TWO = "10.0.0.1:80", "10.0.0.2:80"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: Clock) -> Prometheus:
    return Prometheus(registry, clock=clock)


def backend(address: str, state: Connectivity | None = Connectivity.READY) -> BackendSnapshot:
    return BackendSnapshot(
        address=address,
        connectivity=state,
        weight=3,
        effective_weight=3,
        zone="",
        node="",
        level=0,
        in_flight=2,
        ejected_for=None,
        draining=False,
        failing=False,
        last_error="",
        load=None,
    )


def channel(*backends: BackendSnapshot) -> ChannelSnapshot:
    return ChannelSnapshot(
        state=Connectivity.READY,
        waiting="",
        policy="round_robin",
        revision=Revision("a", 7, "e"),
        list_state=None,
        list_age=99.0,
        stale_for=0.0,
        balancer="",
        panic=False,
        settled=True,
        backends=backends,
    )


def start(metrics: Prometheus, *snapshots: ChannelSnapshot) -> list[Callable[[], ChannelSnapshot]]:
    def giving(snapshot: ChannelSnapshot) -> Callable[[], ChannelSnapshot]:
        return lambda: snapshot

    given = [giving(snapshot) for snapshot in snapshots]
    for one in given:
        metrics.channel_started(TARGET, one)
    return given


def attempt(metrics: Prometheus, address: str = ONE, code: str = "OK") -> None:
    one = Attempt(TARGET, METHOD, address, 0, False)
    metrics.attempt_ended(one, code, 0.01)


def samples(registry: CollectorRegistry) -> Iterator[tuple[str, dict[str, str], float]]:
    """What a scrape finds, by way of the text that goes over the wire."""
    text = prometheus_client.generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def total(registry: CollectorRegistry, name: str, by: str, **wanted: str) -> dict[str, float]:
    """PromQL's `sum(name{wanted}) by (by)`."""
    sums: dict[str, float] = {}
    for found, labels, value in samples(registry):
        if found == name and labels.items() >= wanted.items():
            sums[labels[by]] = sums.get(labels[by], 0.0) + value
    return sums


def test_counters_of_a_target_and_of_ejections_are_there_from_the_first_scrape_on(
    metrics: Prometheus, registry: CollectorRegistry, clock: Clock
) -> None:
    [snapshot] = start(metrics, channel(backend(ONE), backend(TWO)))
    for name in ("retries", "hedges", "balancer_losses"):
        assert total(registry, f"grpc_client_{name}_total", "target") == {TARGET: 0}
    ejections = "grpc_client_ejections_total"
    assert total(registry, ejections, "backend") == {ONE: 0, TWO: 0}
    metrics.ejected(TARGET, ONE, 30.0, "five errors in a row")
    assert total(registry, ejections, "backend") == {ONE: 1, TWO: 0}
    # They go with their backends.
    metrics.channel_closed(TARGET, snapshot)
    assert total(registry, ejections, "backend") == {ONE: 1, TWO: 0}
    clock.now += KEPT
    assert total(registry, ejections, "backend") == {}


def test_requests_can_be_summed_by_backend(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    for address, code in ((ONE, "OK"), (ONE, "UNAVAILABLE"), (TWO, "OK")):
        attempt(metrics, address, code)
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 2, TWO: 1}
    assert total(registry, "grpc_client_requests_total", "code") == {"OK": 2, "UNAVAILABLE": 1}


def test_connections_that_are_ready_can_be_summed_by_backend(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    start(
        metrics,
        channel(backend(ONE), backend(TWO, Connectivity.TRANSIENT_FAILURE)),
        channel(backend(ONE), backend(TWO, None)),
    )
    name = "grpc_client_connection_state"
    assert total(registry, name, "backend", state="READY") == {ONE: 2, TWO: 0}
    assert total(registry, name, "backend", state="TRANSIENT_FAILURE") == {ONE: 0, TWO: 1}


def test_retries_and_hedges_are_told_apart(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    for number, hedge in ((0, False), (1, False), (2, False), (1, True)):
        metrics.attempt_ended(Attempt(TARGET, METHOD, ONE, number, hedge), "OK", 0.01)
    assert total(registry, "grpc_client_retries_total", "target") == {TARGET: 2}
    assert total(registry, "grpc_client_hedges_total", "target") == {TARGET: 1}


def test_latencies_are_a_histogram_of_what_the_application_met(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    for seconds in (0.001, 0.0011, 2.0, 99.0):
        metrics.rpc_ended(TARGET, METHOD, "OK", seconds, 1)
    name = "grpc_client_request_duration_seconds"
    buckets = total(registry, f"{name}_bucket", "le")
    assert [buckets[bound] for bound in ("0.001", "0.0025", "1.0", "2.5", "30.0", "+Inf")] == [
        *(1, 2, 2, 3, 3, 4)
    ]
    assert total(registry, f"{name}_count", "method") == {METHOD: 4}
    assert total(registry, f"{name}_sum", "method") == {METHOD: pytest.approx(101.0021)}


def test_failures_are_counted_by_code_and_successes_are_none(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    for code in ("OK", "ABORTED", "ABORTED"):
        metrics.rpc_ended(TARGET, METHOD, code, 0.1, 1)
    assert total(registry, "grpc_client_failures_total", "code") == {"ABORTED": 2}


def test_ejections_and_losses_of_the_balancer_are_counted(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    metrics.ejected(TARGET, ONE, 30.0, "five errors in a row")
    metrics.balancer_lost(TARGET, "gone")
    assert total(registry, "grpc_client_ejections_total", "backend") == {ONE: 1}
    assert total(registry, "grpc_client_balancer_losses_total", "target") == {TARGET: 1}


def test_states_are_those_of_the_moment_of_the_scrape(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    ejected = replace(backend(TWO), ejected_for=3.0)
    draining = replace(backend("10.0.0.3:80"), draining=True)
    start(metrics, replace(channel(backend(ONE), ejected, draining), stale_for=4.5))
    assert total(registry, "grpc_client_in_flight", "backend")[ONE] == 2
    assert total(registry, "grpc_client_ejected", "backend") == {ONE: 0, TWO: 1, "10.0.0.3:80": 0}
    assert total(registry, "grpc_client_backend_weight", "backend")[TWO] == 3
    assert total(registry, "grpc_client_list_age_seconds", "target") == {TARGET: 4.5}
    assert total(registry, "grpc_client_list_backends", "target") == {TARGET: 2}
    assert total(registry, "grpc_client_list_version", "target") == {TARGET: 7}


def test_of_several_channels_the_oldest_list_is_told(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    older = replace(channel(backend(ONE)), stale_for=9.0, revision=Revision("b", 5, "e"))
    start(metrics, older, channel(backend(ONE)))
    assert total(registry, "grpc_client_list_age_seconds", "target") == {TARGET: 9}
    assert total(registry, "grpc_client_list_version", "target") == {TARGET: 5}


def test_the_shortest_list_is_told_of_several_channels(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    start(metrics, channel(backend(ONE), backend(TWO)), channel(), channel(backend(ONE)))
    assert total(registry, "grpc_client_list_backends", "target") == {TARGET: 0}


def test_a_channel_that_has_no_list_yet_has_no_age(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    start(metrics, replace(channel(), stale_for=None, revision=None))
    assert total(registry, "grpc_client_list_age_seconds", "target") == {}
    assert total(registry, "grpc_client_list_version", "target") == {}


def test_a_closed_channel_has_no_state_and_keeps_its_counts(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    (snapshot,) = start(metrics, channel(backend(ONE)))
    attempt(metrics)
    metrics.channel_closed(TARGET, snapshot)
    metrics.channel_closed(TARGET, snapshot)
    assert total(registry, "grpc_client_connection_state", "backend") == {}
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}


def test_counts_of_a_backend_never_go_backwards_while_a_channel_lists_it(
    metrics: Prometheus, registry: CollectorRegistry, clock: Clock
) -> None:
    (first, _) = start(metrics, channel(backend(ONE)), channel(backend(ONE, None)))
    attempt(metrics)
    metrics.connection_changed(TARGET, ONE, Connectivity.READY, None)
    metrics.channel_closed(TARGET, first)
    for _ in range(3):
        clock.now += KEPT
        assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}


def test_series_of_a_backend_that_is_gone_are_dropped_in_the_end(
    metrics: Prometheus, registry: CollectorRegistry, clock: Clock
) -> None:
    (snapshot,) = start(metrics, channel(backend(ONE), backend(TWO)))
    for address in (ONE, TWO):
        attempt(metrics, address)
        metrics.ejected(TARGET, address, 30.0, "")
    metrics.channel_closed(TARGET, snapshot)
    start(metrics, channel(backend(TWO)))
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1, TWO: 1}
    clock.now += KEPT - 1
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1, TWO: 1}
    clock.now += 1
    assert total(registry, "grpc_client_requests_total", "backend") == {TWO: 1}
    assert total(registry, "grpc_client_ejections_total", "backend") == {TWO: 1}


def test_a_backend_that_comes_back_in_time_keeps_its_counts(
    metrics: Prometheus, registry: CollectorRegistry, clock: Clock
) -> None:
    attempt(metrics)
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}
    clock.now += KEPT - 1
    (snapshot,) = start(metrics, channel(backend(ONE)))
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}
    metrics.channel_closed(TARGET, snapshot)
    clock.now += KEPT - 1
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}


def test_a_state_that_changes_while_it_is_read_is_read_again(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    changes = iter([RuntimeError("dictionary changed size")])

    def snapshot() -> ChannelSnapshot:
        for change in changes:
            raise change
        return channel(backend(ONE))

    metrics.channel_started(TARGET, snapshot)
    assert total(registry, "grpc_client_in_flight", "backend") == {ONE: 2}


def test_a_state_that_cannot_be_read_is_left_out_and_the_counts_are_there(
    metrics: Prometheus, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    def snapshot() -> ChannelSnapshot:
        raise RuntimeError("dictionary changed size")

    metrics.channel_started(TARGET, snapshot)
    attempt(metrics)
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}
    assert f"{TARGET}: its state kept changing" in caplog.text


def test_threads_that_count_at_once_lose_nothing(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    def work() -> None:
        for _ in range(2000):
            attempt(metrics)
            metrics.rpc_ended(TARGET, METHOD, "OK", 0.1, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            list(samples(registry))
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 8000}
    name = "grpc_client_request_duration_seconds_count"
    assert total(registry, name, "target") == {TARGET: 8000}


def test_a_registry_takes_one_observer_and_the_first_goes_on(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    with pytest.raises(ValueError, match="grpc_client_requests"):
        Prometheus(registry)
    attempt(metrics)
    assert total(registry, "grpc_client_requests_total", "backend") == {ONE: 1}


def test_observers_of_different_registries_count_for_themselves(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    other = CollectorRegistry()
    attempt(Prometheus(other))
    assert total(registry, "grpc_client_requests_total", "backend") == {}
    assert total(other, "grpc_client_requests_total", "backend") == {ONE: 1}


def test_the_package_does_not_import_prometheus_by_itself() -> None:
    code = (
        "import client_resolver, client_resolver.testing, sys;"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("gathered", [1, 1000])
def test_who_interrupts_the_observer_on_its_own_thread_may_make_rpcs_and_scrape(
    metrics: Prometheus, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    """As signal handlers and finalisers do: here, at each of its lines in turn."""
    monkeypatch.setattr("client_resolver.metrics._GATHERED", gathered)
    monkeypatch.setattr("client_resolver.metrics._PATIENCE", 0.01)
    told = 0

    def rpc() -> None:
        nonlocal told
        told += 1
        metrics.attempt_ended(Attempt(TARGET, METHOD, ONE, 1, False), "OK", 0.1)
        metrics.rpc_ended(TARGET, METHOD, "UNAVAILABLE", 0.1, 1)

    def interrupted_at(number: int) -> bool:
        lines = 0

        def trace(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal lines
            if event == "line" and frame.f_code.co_filename.endswith("client_resolver/metrics.py"):
                lines += 1
                if lines == number:
                    sys.settrace(None)
                    rpc()
                    prometheus_client.generate_latest(registry)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            rpc()
            prometheus_client.generate_latest(registry)
        finally:
            sys.settrace(before)
        return lines >= number

    def all_lines() -> None:
        number = 1
        while interrupted_at(number):
            number += 1
        assert number > 30
        done.set()

    done = threading.Event()
    threading.Thread(target=all_lines, daemon=True).start()
    assert done.wait(60), "a call of the observer waits for its own thread"
    assert total(registry, "grpc_client_requests_total", "code") == {"OK": told}
    assert total(registry, "grpc_client_failures_total", "code") == {"UNAVAILABLE": told}
    assert total(registry, "grpc_client_retries_total", "target") == {TARGET: told}


def test_what_is_told_is_added_up_though_nobody_scrapes(
    metrics: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client_resolver.metrics._GATHERED", 10)
    attempt = Attempt(TARGET, METHOD, ONE, 0, False)
    for _ in range(35):
        metrics.balancer_lost(TARGET, "gone")
        metrics.attempt_ended(attempt, "OK", 0.1)
        metrics.rpc_ended(TARGET, METHOD, "OK", 0.1, 1)
    waiting = (metrics._noted, metrics._attempts_ended, metrics._rpcs_ended)
    assert all(len(notes) <= 10 for notes in waiting)
    assert metrics._losses[(TARGET,)] >= 25


def test_a_child_that_was_forked_while_its_parent_added_up_adds_up_as_well(
    metrics: Prometheus, registry: CollectorRegistry
) -> None:
    with metrics._adding:
        metrics._process = 0
        metrics.balancer_lost(TARGET, "gone")
        assert total(registry, "grpc_client_balancer_losses_total", "target") == {TARGET: 1}
