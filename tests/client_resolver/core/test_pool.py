from dataclasses import replace

import pytest

from client_resolver.core.backend import Close, Connect, Open
from client_resolver.core.breaker import Limits
from client_resolver.core.config import PoolConfig, PoolOptions
from client_resolver.core.load import LoadReport
from client_resolver.core.model import Connectivity
from client_resolver.core.outlier import OutlierDetection, SuccessRateEjection
from client_resolver.core.pickers import policy_named
from client_resolver.core.pool import Pool
from client_resolver.core.priorities import LocalityPriorities
from client_resolver.core.slow_start import SlowStart
from client_resolver.core.snapshot import snapshot_of
from tests.client_resolver.core.pooling import (
    CONNECTING,
    FAILED,
    IDLE,
    PICK_FIRST,
    READY,
    ROUND_ROBIN,
    WEIGHTED,
    Clock,
    by_port,
    endpoint,
    endpoints,
    listed,
    make_pool,
    make_ready,
    news,
    picked,
    pickers,
    port_of,
    shares,
    told,
    wakes,
)

STRICT = OutlierDetection(
    consecutive_errors=2, base_ejection_time=30, interval=10, max_ejection_percent=100
)


def test_new_endpoints_are_opened_and_picked_once_ready() -> None:
    subject = make_pool()
    assert told(subject.update(endpoints([1, 2]), 0.0)) == [("open", 1), ("open", 2)]
    assert subject.pickers() == (None, None)
    make_ready(subject, 1)
    assert picked(subject) == {1}


def test_a_change_of_weight_keeps_the_connection() -> None:
    subject = make_pool()
    one, two = listed(subject, 1, 2)
    assert subject.update([endpoint(1, weight=9), endpoint(2)], 0.0) == []
    assert shares(subject, 100) == {1: 90, 2: 10}
    assert (one.connectivity, two.connectivity) == (READY, READY)


def test_a_weight_of_zero_keeps_the_connection_and_gets_no_rpc() -> None:
    subject = make_pool()
    listed(subject, 1)
    assert subject.update([endpoint(1, weight=0)], 0.0) == []
    assert subject.pickers() == (None, None)
    assert subject.usable == []
    assert subject.listed == 1


def test_an_endpoint_that_arrives_with_weight_zero_is_connected() -> None:
    subject = make_pool()
    assert told(subject.update([endpoint(1, weight=0)], 0.0)) == [("open", 1)]


def test_an_idle_backend_that_leaves_is_closed_at_once() -> None:
    subject = make_pool()
    first, second = listed(subject, 1, 2)
    assert subject.update(endpoints([2]), 0.0) == [Close(first)]
    assert list(subject) == [second]
    assert not first.accepting


def test_a_backend_that_leaves_is_closed_after_its_last_rpc() -> None:
    subject = make_pool()
    first, second = listed(subject, 1, 2)
    first.in_flight.add(object())
    assert subject.update(endpoints([2]), 0.0) == []
    assert first.draining
    assert not first.accepting
    assert picked(subject) == {2}
    assert subject.drained(first, 1e9) == []
    first.in_flight.pop()
    assert subject.drained(second, 1.0) == []
    assert subject.drained(first, 1.0) == [Close(first)]
    assert subject.drained(first, 1.0) == []
    assert subject.tick(1.0) == []


def test_a_tick_finds_what_has_drained_as_well() -> None:
    subject = make_pool()
    (first,) = listed(subject, 1)
    first.in_flight.add(object())
    subject.update([], 0.0)
    assert subject.tick(1.0) == []
    first.in_flight.pop()
    assert subject.tick(1.0) == [Close(first)]


def test_a_backend_that_comes_back_while_it_drains_is_the_same() -> None:
    subject = make_pool(options=PoolOptions(drain_timeout=10))
    first, _ = listed(subject, 1, 2)
    first.in_flight.add(object())
    subject.update(endpoints([2]), 0.0)
    assert wakes(subject) == 10.0
    assert subject.update(endpoints([1, 2]), 1.0) == []
    assert not first.draining
    assert first.accepting
    assert wakes(subject) is None
    assert picked(subject) == {1, 2}


def test_the_time_to_drain_is_bounded_where_it_is_set() -> None:
    subject = make_pool(options=PoolOptions(drain_timeout=10))
    (first,) = listed(subject, 1)
    first.in_flight.add(object())
    subject.update([], 5.0)
    assert subject.tick(14.9) == []
    assert subject.tick(15.0) == [Close(first, overdue=True)]


def test_a_connection_that_goes_idle_is_connected_again_unless_it_drains() -> None:
    subject = make_pool()
    (first,) = listed(subject, 1)
    assert subject.observed(first, IDLE) == [Connect(first)]
    first.in_flight.add(object())
    subject.update([], 0.0)
    assert subject.observed(first, IDLE) == []


def test_what_is_observed_of_a_connection_that_is_closed_is_ignored() -> None:
    subject = make_pool()
    (first,) = listed(subject, 1)
    subject.update([], 0.0)
    assert subject.observed(first, FAILED) == []
    assert not first.failing


@pytest.mark.parametrize(
    ("states", "together"),
    [
        ([], CONNECTING),
        ([IDLE], CONNECTING),
        ([FAILED], FAILED),
        ([FAILED, READY], READY),
        ([FAILED, CONNECTING], CONNECTING),
        ([FAILED, FAILED], FAILED),
    ],
)
def test_states_are_aggregated(states: list[Connectivity], together: Connectivity) -> None:
    subject = make_pool()
    actions = subject.update(endpoints(range(1, len(states) + 1)), 0.0)
    for action, state in zip(actions, states, strict=True):
        subject.observed(action.backend, state)
    assert subject.connectivity() is together


def test_a_failed_connection_counts_as_failed_until_it_is_ready() -> None:
    subject = make_pool()
    (action,) = subject.update(endpoints([1]), 0.0)
    for state, together in [
        (FAILED, FAILED),
        (CONNECTING, FAILED),
        (IDLE, FAILED),
        (READY, READY),
        (CONNECTING, CONNECTING),
    ]:
        subject.observed(action.backend, state)
        assert subject.connectivity() is together


def test_close_lets_go_of_everything() -> None:
    subject = make_pool()
    first, second = listed(subject, 1, 2)
    first.in_flight.add(object())
    subject.update(endpoints([2]), 0.0)
    assert subject.close() == [Close(second), Close(first)]
    assert list(subject) == []
    assert subject.pickers() == (None, None)
    assert wakes(subject) is None


def test_an_event_that_changes_no_candidate_keeps_the_picker() -> None:
    subject = make_pool()
    subject.update(endpoints([1, 2]), 0.0)
    make_ready(subject, 1)
    before = subject.pickers()
    subject.observed(by_port(subject)[2], CONNECTING)
    subject.observed(by_port(subject)[2], FAILED)
    assert subject.changed
    assert subject.pickers() is before
    assert not subject.changed


def test_it_is_urgent_when_a_backend_is_lost_and_not_when_one_more_is_ready() -> None:
    subject = make_pool()
    subject.update(endpoints([1, 2]), 0.0)
    subject.pickers()
    make_ready(subject, 1)
    assert news(subject) == "urgent", "it is the first"
    subject.pickers()
    make_ready(subject, 2)
    assert news(subject) == "changed"
    subject.pickers()
    subject.observed(by_port(subject)[2], FAILED)
    assert news(subject) == "urgent"


def test_a_backend_that_fails_again_and_again_is_ejected_and_comes_back() -> None:
    subject = make_pool(PoolConfig(policy=ROUND_ROBIN, outlier=STRICT))
    one, _ = listed(subject, 1, 2)
    assert picked(subject) == {1, 2}
    assert subject.tracked
    assert not subject.failed(one, "INTERNAL", 0.1, 0.0)
    assert subject.failed(one, "INTERNAL", 0.1, 1.0)
    assert subject.urgent
    assert picked(subject) == {2}
    assert snapshot_of(one, 1.0).ejected_for == 30.0
    now = 1.0
    while (due := wakes(subject)) is not None and one.ejected_until is not None:
        now = due
        subject.tick(now)
    assert now == 31.0
    assert picked(subject) == {1, 2}


def test_errors_that_are_the_callers_own_eject_nobody() -> None:
    subject = make_pool(PoolConfig(outlier=STRICT))
    one, _ = listed(subject, 1, 2)
    for _ in range(9):
        assert not subject.failed(one, "INVALID_ARGUMENT", 0.1, 0.0)
    assert not one.ejected


def test_ejected_backends_are_used_where_no_other_is_ready() -> None:
    subject = make_pool(PoolConfig(outlier=STRICT))
    one, two = listed(subject, 1, 2)
    for backend in (one, two) * 2:
        subject.failed(backend, "UNAVAILABLE", 0.1, 0.0)
    assert one.ejected
    assert two.ejected
    assert picked(subject) == {1, 2}
    assert subject.panic
    subject.observed(two, FAILED)
    assert picked(subject) == {1}


@pytest.mark.parametrize(("threshold", "panics"), [(0, False), (50, False), (51, True)])
def test_fewer_well_backends_than_the_panic_threshold_end_ejections(
    threshold: int, panics: bool
) -> None:
    subject = make_pool(PoolConfig(outlier=STRICT, panic_threshold=threshold))
    one, two, _, _ = listed(subject, 1, 2, 3, 4)
    for backend in (one, two) * 2:
        subject.failed(backend, "UNAVAILABLE", 0.1, 0.0)
    assert picked(subject) == ({1, 2, 3, 4} if panics else {3, 4})
    assert subject.panic is panics


def test_an_ejected_backend_that_leaves_comes_back_clean() -> None:
    subject = make_pool(PoolConfig(outlier=STRICT))
    one, _, _ = listed(subject, 1, 2, 3)
    one.in_flight.add(object())
    for _ in range(2):
        subject.failed(one, "UNAVAILABLE", 0.1, 0.0)
    subject.update(endpoints([2, 3]), 1.0)
    assert not one.ejected
    subject.update(endpoints([1, 2, 3]), 2.0)
    assert picked(subject) == {1, 2, 3}


def test_a_config_without_outlier_detection_brings_all_back() -> None:
    subject = make_pool(PoolConfig(outlier=STRICT))
    one, _ = listed(subject, 1, 2)
    for _ in range(2):
        subject.failed(one, "UNAVAILABLE", 0.1, 0.0)
    assert picked(subject) == {2}
    subject.configure(PoolConfig(), 1.0)
    assert subject.update(endpoints([1, 2]), 1.0) == []
    assert picked(subject) == {1, 2}
    assert not subject.tracked


def test_the_first_rpc_that_counts_sets_the_time_of_the_sweep() -> None:
    rates = replace(STRICT, failure_percentage=None, consecutive_errors=1)
    subject = make_pool(PoolConfig(outlier=rates))
    one, _ = listed(subject, 1, 2)
    assert wakes(subject) is None
    assert subject.failed(one, "INTERNAL", 0.1, 5.0)
    assert wakes(subject) == 15.0


def test_the_first_success_that_counts_asks_for_the_time_of_the_sweep() -> None:
    subject = make_pool(PoolConfig(outlier=replace(STRICT, success_rate=SuccessRateEjection())))
    one, _ = listed(subject, 1, 2)
    assert [subject.succeeded(one, 0.1), wakes(subject)] == [True, None]
    subject.wake(5.0)
    assert [subject.succeeded(one, 0.1), wakes(subject)] == [False, 15.0]
    subject.update(endpoints([2]), 6.0)
    assert not subject.succeeded(one, 0.1), "it has left the list"


def test_a_backend_that_arrives_is_warmed_up() -> None:
    clock = Clock()
    subject = make_pool(PoolConfig(policy=WEIGHTED, slow_start=SlowStart(10)), clock=clock)
    listed(subject, 1)
    assert shares(subject, 10) == {1: 10}
    assert wakes(subject) is None, "of the first list, none is warmed up"
    clock.now = 100.0
    listed(subject, 1, 2, now=100.0)
    assert shares(subject, 110) == {1: 100, 2: 10}
    assert wakes(subject) == 100.5
    clock.now = 105.0
    subject.tick(105.0)
    assert shares(subject, 150) == {1: 100, 2: 50}
    clock.now = 110.0
    subject.tick(110.0)
    assert shares(subject, 20) == {1: 10, 2: 10}
    assert wakes(subject) is None


def test_warming_up_begins_when_the_backend_is_ready_for_the_first_time() -> None:
    clock = Clock()
    subject = make_pool(PoolConfig(policy=WEIGHTED, slow_start=SlowStart(10)), clock=clock)
    listed(subject, 1)
    subject.update(endpoints([1, 2]), 1.0)
    clock.now = 50.0
    make_ready(subject, 2)
    assert shares(subject, 110) == {1: 100, 2: 10}
    two = by_port(subject)[2]
    subject.observed(two, FAILED)
    clock.now = 70.0
    subject.observed(two, READY)
    assert shares(subject, 20) == {1: 10, 2: 10}, "it was warmed up before it failed"


def test_priorities_prefer_the_own_zone_and_spill_over() -> None:
    config = PoolConfig(policy=ROUND_ROBIN, priorities=LocalityPriorities(("zone",)))
    subject = make_pool(config, PoolOptions(zone="a"))
    near = [endpoint(port, zone="a") for port in (1, 2)]
    subject.update([*near, endpoint(3, zone="b")], 0.0)
    make_ready(subject, 1, 2, 3)
    assert picked(subject) == {1, 2}
    subject.observed(by_port(subject)[1], FAILED)
    assert shares(subject, 100) == {2: 70, 3: 30}
    subject.observed(by_port(subject)[2], FAILED)
    assert picked(subject) == {3}


def homes(pool: Pool[object], ready: int = 0) -> list[int]:
    picker = pickers(pool)[ready]
    assert picker is not None
    return [port_of(picker.pick(2**64 // 500 * n)) for n in range(500)]


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_when_a_backend_fails_or_is_ejected_its_keys_move_and_no_other(policy: str) -> None:
    subject = make_pool(PoolConfig(policy=policy_named(policy), outlier=STRICT))
    those = listed(subject, 1, 2, 3, 4)
    before = homes(subject)
    assert set(before) == {1, 2, 3, 4}
    subject.observed(those[0], FAILED)
    for _ in range(5):
        subject.failed(those[1], "UNAVAILABLE", 0.1, 1.0)
    assert those[1].ejected
    during = homes(subject)
    assert set(during) == {3, 4}
    assert all(now == port for now, port in zip(during, before, strict=True) if port > 2)
    subject.observed(those[0], READY)
    while subject.wake_at is not None:
        subject.tick(subject.wake_at)
    assert homes(subject) == before


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_keys_go_to_the_connected_backends_alone_where_not_all_may_be(policy: str) -> None:
    subject = make_pool(PoolConfig(policy=policy_named(policy), limits=Limits(max_connections=2)))
    actions = subject.update(endpoints(range(1, 9)), 0.0)
    opened = [port for _, port in told(actions)]
    assert len(opened) == 2
    make_ready(subject, *opened)
    assert set(homes(subject)) == set(opened)
    # Keys are spread over the two as evenly as if there were no others.
    assert "of 2 backends" in repr(subject.pickers()[0])


def test_where_keys_decide_a_backend_that_failed_keeps_its_weight_while_another_warms_up() -> None:
    subject = make_pool(PoolConfig(policy=policy_named("maglev"), slow_start=SlowStart(10)))
    one, two = listed(subject, 1, 2)
    subject.observed(one, FAILED)
    subject.update(endpoints([1, 2, 3]), 1.0)
    make_ready(subject, 3)
    assert set(homes(subject)) == {2, 3}
    assert (one.weight, two.weight, by_port(subject)[3].weight) == (100, 100, 10)


def test_lazily_a_key_asks_for_its_own_backend_even_if_others_are_ready() -> None:
    subject = make_pool(PoolConfig(policy=policy_named("maglev")), PoolOptions(lazy=True))
    subject.update(endpoints([1, 2, 3]), 0.0)
    before = homes(subject, 1)
    assert set(before) == {1, 2, 3}
    subject.idle_picked(by_port(subject)[2], 1.0)
    make_ready(subject, 2)
    assert homes(subject, 1) == before


@pytest.mark.parametrize("policy", ["ring_hash", "maglev"])
def test_in_each_zone_its_own_keys_alone_move(policy: str) -> None:
    config = PoolConfig(policy=policy_named(policy), priorities=LocalityPriorities(("zone",), 1000))
    subject = make_pool(config, PoolOptions(zone="a"))
    subject.update([endpoint(port, zone="a" if port < 5 else "b") for port in range(1, 9)], 0.0)
    make_ready(subject, *range(1, 9))
    before = homes(subject)
    assert set(before) == {1, 2, 3, 4}
    subject.observed(by_port(subject)[1], FAILED)
    during = homes(subject)
    assert set(during) == {2, 3, 4}
    assert all(now == port for now, port in zip(during, before, strict=True) if port > 1)


def test_a_client_side_subset_is_all_that_is_connected() -> None:
    subject = make_pool(options=PoolOptions(subset_size=3, client_id="me"))
    chosen = {port for _, port in told(subject.update(endpoints(range(1, 21)), 0.0))}
    assert len(chosen) == 3
    again = make_pool(options=PoolOptions(subset_size=3, client_id="me"))
    assert {port for _, port in told(again.update(endpoints(range(1, 21)), 0.0))} == chosen
    other = make_pool(options=PoolOptions(subset_size=3, client_id="you"))
    assert {port for _, port in told(other.update(endpoints(range(1, 21)), 0.0))} != chosen


def test_the_service_configs_subset_size_goes_first_and_leaves_weightless_endpoints_out() -> None:
    subject = make_pool(PoolConfig(subset_size=2), PoolOptions(subset_size=3))
    given = [endpoint(port, weight=port % 2) for port in range(1, 21)]
    chosen = [port % 2 for _, port in told(subject.update(given, 0.0))]
    assert chosen == [1, 1]


def test_a_larger_subset_keeps_the_connections_of_the_smaller() -> None:
    subject = make_pool(PoolConfig(subset_size=2), PoolOptions(client_id="me"))
    first = told(subject.update(endpoints(range(1, 21)), 0.0))
    subject.configure(PoolConfig(subset_size=5), 1.0)
    more = told(subject.update(endpoints(range(1, 21)), 1.0))
    assert [name for name, _ in more] == ["open"] * 3
    assert not set(first) & set(more)


def test_pick_first_connects_one_backend_after_another_in_the_lists_order() -> None:
    subject = make_pool(PoolConfig(policy=PICK_FIRST))
    assert told(subject.update(endpoints([3, 1, 2]), 0.0)) == [("open", 3)]
    backends = by_port(subject)
    assert told(subject.observed(backends[3], FAILED)) == [("open", 1)]
    assert told(subject.observed(backends[1], READY)) == [("close", 3)]
    assert picked(subject) == {1}
    assert told(subject.observed(backends[1], FAILED)) == [("open", 3)]


def test_shuffled_clients_pick_different_first_backends_and_each_its_own_again() -> None:
    policy = policy_named("pick_first", {"shuffleAddressList": True})

    def first(client_id: str) -> list[tuple[str, int]]:
        subject = make_pool(PoolConfig(policy=policy), PoolOptions(client_id=client_id))
        return told(subject.update(endpoints(range(1, 10)), 0.0))

    assert len({tuple(first(f"client-{number}")) for number in range(20)}) > 5
    assert first("client-1") == first("client-1")


def test_max_connections_counts_each_backends_connections() -> None:
    config = PoolConfig(policy=ROUND_ROBIN, limits=Limits(max_connections=7))
    subject = make_pool(config, PoolOptions(connections_per_backend=2))
    assert len(subject.update(endpoints(range(1, 21)), 0.0)) == 3


def test_clients_prefer_different_backends_where_not_all_may_be_connected() -> None:
    config = PoolConfig(policy=ROUND_ROBIN, limits=Limits(max_connections=3))
    chosen = set()
    for number in range(20):
        subject = make_pool(config, PoolOptions(client_id=f"client-{number}"))
        chosen.add(tuple(told(subject.update(endpoints(range(1, 10)), 0.0))))
    assert len(chosen) > 10


def test_more_connections_are_made_when_more_are_allowed_and_none_is_dropped_when_fewer() -> None:
    subject = make_pool(PoolConfig(limits=Limits(max_connections=1)))
    subject.update(endpoints([1, 2, 3]), 0.0)
    subject.configure(PoolConfig(), 1.0)
    assert len(subject.update(endpoints([1, 2, 3]), 1.0)) == 2
    make_ready(subject, 1, 2, 3)
    subject.configure(PoolConfig(policy=ROUND_ROBIN, limits=Limits(max_connections=1)), 2.0)
    assert subject.update(endpoints([1, 2, 3]), 2.0) == []
    assert picked(subject) == {1, 2, 3}


def test_a_lazy_backend_is_connected_when_it_is_first_picked() -> None:
    subject = make_pool(PoolConfig(policy=ROUND_ROBIN), PoolOptions(lazy=True))
    assert subject.update(endpoints([1, 2]), 0.0) == []
    assert subject.connectivity() is IDLE
    picker, idle_picker = subject.pickers()
    assert picker is None
    assert idle_picker is not None
    first = idle_picker.pick()
    assert subject.idle_picked(first, 0.0) == [Open(first)]
    assert subject.idle_picked(first, 0.0) == [Connect(first)], "it is not seen to connect yet"
    subject.observed(first, CONNECTING)
    assert subject.idle_picked(first, 0.0) == []
    assert subject.connectivity() is CONNECTING
    subject.observed(first, READY)
    picker, idle_picker = subject.pickers()
    assert picker is not None
    assert picker.pick() is first
    assert idle_picker is not None
    second = next(backend for backend in subject if backend is not first)
    assert {idle_picker.pick() for _ in range(2)} == {first, second}
    subject.idle_picked(second, 0.0)
    assert subject.pickers()[1] is None, "none is idle any more"


def test_a_lazy_backend_that_fails_is_not_asked_for_again_until_it_is_ready() -> None:
    subject = make_pool(PoolConfig(policy=ROUND_ROBIN), PoolOptions(lazy=True))
    subject.update(endpoints([1, 2]), 0.0)
    one, two = subject
    subject.idle_picked(one, 0.0)
    assert subject.observed(one, FAILED) == []
    idle_picker = subject.pickers()[1]
    assert idle_picker is not None
    assert {idle_picker.pick() for _ in range(3)} == {two}
    assert subject.connectivity() is IDLE
    subject.idle_picked(two, 0.0)
    subject.observed(two, FAILED)
    assert subject.pickers() == (None, None)
    assert subject.connectivity() is FAILED


def test_a_lazy_backend_that_takes_long_to_connect_is_not_asked_for_while_others_are_idle() -> None:
    clock = Clock()
    subject = make_pool(PoolConfig(policy=ROUND_ROBIN), PoolOptions(lazy=True), clock)
    subject.update(endpoints([1, 2]), 0.0)
    one, two = subject
    subject.idle_picked(one, 0.0)
    subject.pickers()
    promising = [one.promising]
    assert subject.wake_at == 0.25
    clock.now = 0.25
    assert subject.tick(clock.now) == []
    assert subject.changed
    assert [*promising, one.promising] == [True, False]
    idle_picker = subject.pickers()[1]
    assert idle_picker is not None
    assert {idle_picker.pick() for _ in range(3)} == {two}
    subject.idle_picked(two, clock.now)
    assert subject.pickers() == (None, None), "both are waited for"
    assert subject.connectivity() is CONNECTING
    subject.observed(one, READY)
    assert picked(subject) == {1}


def test_a_lazy_pool_asks_for_no_more_than_may_be_connected() -> None:
    config = PoolConfig(policy=ROUND_ROBIN, limits=Limits(max_connections=1))
    subject = make_pool(config, PoolOptions(lazy=True))
    subject.update(endpoints([1, 2]), 0.0)
    one, two = subject
    subject.idle_picked(one, 0.0)
    assert subject.pickers()[1] is None
    assert subject.idle_picked(two, 0.0) == []


def test_an_idle_connection_is_closed_and_opened_again_when_it_is_picked() -> None:
    clock = Clock()
    options = PoolOptions(lazy=True, idle_timeout=60)
    subject = make_pool(PoolConfig(policy=ROUND_ROBIN), options, clock)
    subject.update(endpoints([1]), 0.0)
    (one,) = subject
    subject.idle_picked(one, 0.0)
    subject.observed(one, READY)
    assert wakes(subject) == 60.0
    clock.now = 40.0
    picker = subject.pickers()[0]
    assert picker is not None
    picker.pick()
    clock.now = 60.0
    assert subject.tick(60.0) == []
    assert wakes(subject) == 100.0
    clock.now = 100.0
    assert subject.tick(100.0) == [Close(one)]
    picker, idle_picker = subject.pickers()
    assert picker is None
    assert idle_picker is not None
    assert subject.idle_picked(one, 101.0) == [Open(one)]


def test_a_connection_with_an_rpc_is_not_idle() -> None:
    subject = make_pool(options=PoolOptions(lazy=True, idle_timeout=60))
    subject.update(endpoints([1]), 0.0)
    (one,) = subject
    subject.idle_picked(one, 0.0)
    subject.observed(one, READY)
    one.in_flight.add(object())
    assert subject.tick(1000.0) == []
    assert one.accepting


def test_a_lazy_connection_that_is_lost_waits_for_the_next_pick() -> None:
    subject = make_pool(options=PoolOptions(lazy=True))
    subject.update(endpoints([1]), 0.0)
    (one,) = subject
    subject.idle_picked(one, 0.0)
    assert subject.observed(one, IDLE) == [], "it has only just been opened"
    subject.observed(one, READY)
    assert subject.observed(one, IDLE) == [Close(one)]


def test_load_reports_are_kept_and_pickers_renewed_as_often_as_the_policy_asks() -> None:
    policy = policy_named("weighted_round_robin", {"backendMetrics": True})
    clock = Clock()
    subject = make_pool(PoolConfig(policy=policy), clock=clock)
    one, _ = listed(subject, 1, 2)
    assert subject.tracked
    subject.pickers()
    assert policy.refresh is not None
    assert wakes(subject) == policy.refresh
    one.load = LoadReport(qps=10, cpu_utilization=0.5)
    subject.succeeded(one, 0.1)
    assert news(subject) == ""
    clock.now = policy.refresh
    subject.tick(policy.refresh)
    assert news(subject) == "changed"


def test_a_measured_policy_is_told_how_rpcs_end() -> None:
    class Told:
        ends: list[tuple[object, float, bool]]

        def __init__(self, backends: list[object]) -> None:
            self.backends = backends
            self.ends = []

        def pick(self, key: int = 0, tried: object = ()) -> object:
            return self.backends[0]

        def ended(self, backend: object, seconds: float, ok: bool) -> None:
            self.ends.append((backend, seconds, ok))

    measured = policy_named("peak_ewma")
    picker: Told | None = None

    class Measuring(type(measured)):  # type: ignore[misc]
        def build(self, backends: list[object], *_: object) -> Told:
            nonlocal picker
            picker = Told(backends)
            return picker

    subject = make_pool(PoolConfig(policy=Measuring()))
    (one,) = listed(subject, 1)
    subject.pickers()
    subject.succeeded(one, 0.5)
    subject.failed(one, "UNAVAILABLE", 0.25, 0.0)
    subject.failed(one, "NOT_FOUND", 0.125, 0.0)
    assert picker is not None
    assert picker.ends == [(one, 0.5, True), (one, 0.25, False), (one, 0.125, True)]
