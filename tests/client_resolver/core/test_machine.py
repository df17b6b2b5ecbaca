from random import Random

import pytest

from client_resolver.core.backend import Close, Connect, Explain, Open
from client_resolver.core.backoff import FullJitter
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.delta import Delta
from client_resolver.core.events import (
    BalancerLost,
    ConnectionChanged,
    Ejected,
    ListChanged,
    ListConfirmed,
    Returned,
)
from client_resolver.core.machine import Machine
from client_resolver.core.model import Code, Connectivity, ListState, Revision, ServerList
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.pickers import policy_named
from client_resolver.core.pool import Pool
from client_resolver.core.watch import Watch
from tests.client_resolver.core.pooling import ROUND_ROBIN, Clock, endpoints, news

CONFIGS = {
    "round_robin": PoolConfig(policy=ROUND_ROBIN),
    "measured": PoolConfig(
        policy=policy_named("weighted_round_robin", {"backendMetrics": True}),
        outlier=OutlierDetection(consecutive_errors=1, max_ejection_percent=100),
    ),
}


def machine(options: PoolOptions | None = None, config: str = "round_robin") -> Machine[object]:
    rng = Random(1)
    watch = Watch("balancer b:1", FullJitter(0.1, 1, rng), 30)
    pool: Pool[object] = Pool(CONFIGS[config], rng, Clock(), options)
    return Machine(pool, watch, CONFIGS.__getitem__)


def listed(*ports: int, version: int = 0, config: str = "round_robin") -> ServerList:
    revision = Revision(f"{ports}{config}", version, "e")
    return ServerList(tuple(endpoints(ports)), ListState.PRESENT, revision, service_config=config)


def failure_of(subject: Machine[object]) -> str:
    failure = subject.outlook.failure
    assert failure is not None
    return failure.details


def test_a_burst_of_events_makes_one_outlook() -> None:
    subject = machine()
    actions = subject.received(listed(1, 2, 3), 0.0)
    assert [type(action) for action in actions] == [Open] * 3
    before = subject.outlook
    for action in actions:
        subject.observed(action.backend, Connectivity.READY)
    assert subject.outlook is before
    assert subject.publish()
    assert subject.outlook.picker is not None
    assert not subject.publish()


def test_a_list_that_was_put_off_is_applied_when_due() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1, version=7), 0.0)
    assert subject.received(listed(2, version=6), 0.0) == []
    assert subject.wake_at == 30.0
    assert subject.tick(29.0) == []
    actions = subject.tick(30.0)
    assert [type(action) for action in actions] == [Close, Open]
    assert actions[0].backend is opened.backend


def test_the_next_thing_due_wakes() -> None:
    subject = machine(PoolOptions(drain_timeout=5))
    (opened,) = subject.received(listed(1, version=7), 0.0)
    opened.backend.in_flight.add(object())
    subject.received(listed(2, version=8), 1.0)
    subject.received(listed(3, version=7), 2.0)
    assert subject.wake_at == 6.0
    assert subject.tick(6.0) == [Close(opened.backend, overdue=True)]
    assert subject.wake_at == 32.0


def test_a_failure_to_get_a_list_is_published_and_a_list_ends_it() -> None:
    subject = machine()
    subject.lost(Code.UNAVAILABLE, "refused", 0.0)
    assert subject.publish()
    assert subject.outlook.failure is not None
    subject.received(listed(1), 0.0)
    assert subject.publish()
    assert subject.outlook.failure is None


def test_close_takes_the_picker_away() -> None:
    subject = machine()
    (action,) = subject.received(listed(1), 0.0)
    subject.observed(action.backend, Connectivity.READY)
    subject.publish()
    assert subject.close() == [Close(action.backend)]
    assert subject.outlook.picker is None


def test_the_config_of_a_list_holds_from_the_list_on_and_keeps_the_backends() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1, version=7), 0.0)
    subject.observed(opened.backend, Connectivity.READY)
    subject.publish()
    before = subject.outlook
    before_wanted = (subject.tracked, subject.wants_load)
    assert before_wanted == (False, False)
    assert subject.received(listed(1, version=8, config="measured"), 1.0) == []
    assert subject.publish()
    assert subject.config is CONFIGS["measured"]
    assert subject.tracked
    assert subject.wants_load
    assert subject.outlook is not before
    assert subject.outlook.picker is not None
    assert subject.outlook.picker.pick() is opened.backend


def test_an_event_that_changes_nothing_for_rpcs_makes_no_outlook() -> None:
    subject = machine()
    one, two = subject.received(listed(1, 2), 0.0)
    subject.observed(one.backend, Connectivity.READY)
    assert news(subject) == "urgent"
    assert subject.publish()
    subject.observed(two.backend, Connectivity.CONNECTING)
    assert news(subject) == "changed"
    assert not subject.publish()
    assert news(subject) == ""


def test_an_ejection_is_published() -> None:
    subject = machine(config="measured")
    one, two = subject.received(listed(1, 2, config="measured"), 0.0)
    for action in (one, two):
        subject.observed(action.backend, Connectivity.READY)
    subject.publish()
    assert subject.failed(one.backend, "UNAVAILABLE", 0.1, 0.0)
    assert subject.publish()
    assert subject.outlook.picker is not None
    assert {subject.outlook.picker.pick() for _ in range(9)} == {two.backend}


def test_a_lazy_channel_connects_what_is_picked() -> None:
    subject = machine(PoolOptions(lazy=True))
    assert subject.received(listed(1), 0.0) == []
    subject.publish()
    outlook = subject.outlook
    assert outlook.connectivity is Connectivity.IDLE
    assert outlook.failure is None
    assert outlook.idle_picker is not None
    backend = outlook.idle_picker.pick()
    assert subject.idle_picked(backend, 1.0) == [Open(backend)]
    subject.publish()
    assert subject.outlook.idle_picker is None
    assert subject.outlook.connectivity is Connectivity.CONNECTING


def test_a_drained_backend_is_closed_at_its_last_rpc() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1, version=7), 0.0)
    opened.backend.in_flight.add(object())
    subject.received(listed(2, version=8), 1.0)
    opened.backend.in_flight.pop()
    assert subject.drained(opened.backend, 2.0) == [Close(opened.backend)]


def test_events_tell_what_has_happened_once() -> None:
    subject = machine(PoolOptions(observed=True), "measured")
    given = listed(1, 2, version=7, config="measured")
    one, two = subject.received(given, 0.0)
    name = one.backend.address
    assert subject.events() == [
        ConnectionChanged(name, None, Connectivity.IDLE),
        ConnectionChanged(two.backend.address, None, Connectivity.IDLE),
        ListChanged(given.revision, 2),
    ]
    subject.observed(one.backend, Connectivity.READY)
    subject.observed(one.backend, Connectivity.READY)
    assert subject.observed(one.backend, Connectivity.IDLE) == [Connect(one.backend)]
    subject.failed(one.backend, "INTERNAL", 0.1, 0.0)
    assert subject.events() == [
        ConnectionChanged(name, Connectivity.IDLE, Connectivity.READY),
        ConnectionChanged(name, Connectivity.READY, Connectivity.IDLE),
        Ejected(name, 30.0, "1 errors in a row"),
    ]
    for now in (10.0, 20.0, 30.0):
        subject.tick(now)
    assert subject.events() == [Returned(name)]
    subject.received(given, 31.0)
    lost = subject.lost(Code.UNAVAILABLE, "gone", 32.0)
    subject.lost(Code.OK, "", 33.0)
    assert subject.events() == [ListConfirmed(), BalancerLost(lost.text)]
    subject.received(listed(2, version=8, config="measured"), 34.0)
    assert ConnectionChanged(name, Connectivity.IDLE, None) in subject.events()
    assert subject.events() == []


def test_a_list_that_is_put_off_confirms_nothing() -> None:
    subject = machine(PoolOptions(observed=True))
    subject.received(listed(1, version=7), 0.0)
    subject.events()
    subject.received(listed(2, version=6), 1.0)
    assert subject.events() == []


def test_without_an_observer_no_event_is_kept() -> None:
    subject = machine()
    subject.received(listed(1), 0.0)
    assert subject.events() == []
    assert subject.pool.log.take() == []


def test_a_snapshot_tells_the_whole_state() -> None:
    subject = machine(config="measured")
    empty = subject.snapshot(0.0)
    assert (empty.revision, empty.list_state, empty.list_age) == (None, None, None)
    assert empty.waiting == "the first list of backends"
    given = listed(1, 2, version=7, config="measured")
    one, two = subject.received(given, 10.0)
    for action in (one, two):
        subject.observed(action.backend, Connectivity.READY)
    one.backend.in_flight.add(object())
    subject.failed(one.backend, "INTERNAL", 0.1, 10.0)
    subject.publish()
    lost = subject.lost(Code.UNAVAILABLE, "gone", 11.0)
    seen = subject.snapshot(15.0)
    assert seen.state is Connectivity.READY
    assert seen.waiting == ""
    assert seen.policy == "weighted_round_robin"
    assert seen.revision == given.revision
    assert seen.list_state is ListState.PRESENT
    assert seen.list_age == 5.0
    assert seen.balancer == lost.text
    assert not seen.panic
    assert seen.in_flight == 1
    assert seen.ejected == (one.backend.address,)
    assert [backend.ejected_for for backend in seen.backends] == [25.0, None]
    subject.received(Delta(given.revision.digest, listed(version=9, config="measured")), 16.0)
    assert subject.snapshot(16.0).balancer == ""


def test_a_connection_counts_as_failed_once_it_is_known_why() -> None:
    subject = machine(PoolOptions(observed=True))
    (opened,) = subject.received(listed(1), 0.0)
    backend = opened.backend
    subject.publish()
    subject.events()
    assert subject.observed(backend, Connectivity.TRANSIENT_FAILURE) == [Explain(backend)]
    assert subject.observed(backend, Connectivity.TRANSIENT_FAILURE) == []
    assert not subject.publish()
    assert subject.outlook.failure is None
    assert subject.explained(backend, "Connection refused") == []
    assert subject.publish()
    assert failure_of(subject) == (
        "no connection to any of 1 backend: 10.0.0.1:1 (TRANSIENT_FAILURE: Connection refused)"
    )
    idle, failing = Connectivity.IDLE, Connectivity.TRANSIENT_FAILURE
    changed = ConnectionChanged("10.0.0.1:1", idle, failing, "Connection refused")
    assert subject.events() == [changed]


def test_a_reason_that_has_changed_is_published() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1), 0.0)
    backend = opened.backend
    subject.observed(backend, Connectivity.TRANSIENT_FAILURE)
    subject.explained(backend, "refused")
    subject.publish()
    assert subject.wake_at is not None
    assert subject.tick(subject.wake_at) == [Explain(backend)]
    subject.explained(backend, "certificate has expired")
    assert subject.publish()
    assert subject.snapshot(2.0).backends[0].last_error == "certificate has expired"
    assert "certificate has expired" in failure_of(subject)


def test_a_reason_that_cannot_be_told_leaves_the_last_one() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1), 0.0)
    opened.backend.last_error = "dial failed: no such file"
    subject.observed(opened.backend, Connectivity.TRANSIENT_FAILURE)
    subject.explained(opened.backend, "")
    subject.publish()
    assert "dial failed: no such file" in failure_of(subject)


def test_a_ready_connection_that_fails_is_not_picked_while_it_is_found_out_why() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1), 0.0)
    subject.observed(opened.backend, Connectivity.READY)
    subject.publish()
    before = subject.outlook
    asked = subject.observed(opened.backend, Connectivity.TRANSIENT_FAILURE)
    assert asked == [Explain(opened.backend)]
    subject.publish()
    assert before.picker is not None
    assert (subject.outlook.picker, subject.outlook.failure) == (None, None)


def test_a_connection_that_was_opened_again_is_asked_about_again() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1), 0.0)
    backend = opened.backend
    subject.observed(backend, Connectivity.TRANSIENT_FAILURE)
    subject.received(listed(2), 1.0)
    assert subject.explained(backend, "of the connection that was closed") == []
    (again,) = (one for one in subject.received(listed(1), 2.0) if isinstance(one, Open))
    asked = subject.observed(again.backend, Connectivity.TRANSIENT_FAILURE)
    assert asked == [Explain(again.backend)]
    assert again.backend.last_error == ""


def test_a_list_over_which_something_is_raised_does_not_count_as_held() -> None:
    subject = machine()
    subject.received(listed(1), 0.0)
    # There is no such config, and `adopt` raises.
    for _ in range(2):
        with pytest.raises(KeyError):
            subject.received(listed(2, config="nonsense"), 1.0)
        assert subject.watch.current == listed(1)
    subject.received(listed(2), 2.0)
    assert subject.watch.current == listed(2)
