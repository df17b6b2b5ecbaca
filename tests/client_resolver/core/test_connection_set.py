"""What the pool's tests don't show: the cases with a limit."""

import pytest

from client_resolver.core.backend import Backend
from client_resolver.core.connection_set import ConnectionSet
from client_resolver.core.events import EventLog
from tests.client_resolver.core.pooling import (
    FAILED,
    IDLE,
    READY,
    Clock,
    endpoint,
    told,
)


def backends(count: int) -> list[Backend[object]]:
    return [Backend(endpoint(port)) for port in range(1, count + 1)]


def limited(limit: int, clock: Clock | None = None) -> ConnectionSet[object]:
    now = Clock() if clock is None else clock
    subject: ConnectionSet[object] = ConnectionSet(lazy=False, log=EventLog(on=False), now=now)
    subject.limit = limit
    return subject


def test_no_more_are_opened_than_the_limit_allows() -> None:
    subject = limited(2)
    assert told(subject.arrange(backends(4), [])) == [("open", 1), ("open", 2)]
    assert subject.full


def test_one_that_fails_makes_place_for_the_next_and_stays_open() -> None:
    subject = limited(2)
    those = backends(4)
    subject.arrange(those, [])
    assert told(subject.observed(those[0], FAILED)) == [("open", 3)]
    assert those[0].opened
    assert subject.observed(those[0], FAILED) == []


def test_once_enough_are_ready_those_that_fail_are_closed() -> None:
    subject = limited(2)
    those = backends(4)
    subject.arrange(those, [])
    subject.observed(those[0], FAILED)
    assert subject.observed(those[1], READY) == []
    assert told(subject.observed(those[2], READY)) == [("close", 1)]
    assert told(subject.observed(those[2], FAILED)) == [("open", 1)], "the first choice comes first"


def test_one_that_recovers_takes_the_place_of_one_that_is_still_connecting() -> None:
    subject = limited(1)
    those = backends(2)
    subject.arrange(those, [])
    subject.observed(those[0], FAILED)
    assert told(subject.observed(those[0], READY)) == [("close", 2)]


def test_one_that_carries_an_rpc_is_not_closed_for_the_limit() -> None:
    subject = limited(1)
    those = backends(2)
    subject.arrange(those, [])
    subject.observed(those[0], READY)
    those[0].in_flight.add(object())
    subject.observed(those[0], FAILED)
    assert subject.observed(those[1], READY) == []
    assert those[0].accepting


def test_draining_backends_count_but_one_more_is_always_allowed() -> None:
    subject = limited(2)
    those = backends(4)
    subject.arrange(those[:2], [])
    for backend in those[:2]:
        backend.draining = True
    assert told(subject.arrange(those[2:], those[:2])) == [("open", 3)]
    subject.close(those[0])
    assert subject.fill() == []
    subject.close(those[1])
    assert told(subject.fill()) == [("open", 4)]


def test_beyond_a_limit_that_shrank_a_connection_that_is_lost_is_not_made_anew() -> None:
    subject = limited(3)
    those = backends(3)
    subject.arrange(those, [])
    for backend in those:
        subject.observed(backend, READY)
    subject.limit = 1
    assert subject.arrange(those, []) == []
    assert told(subject.observed(those[2], IDLE)) == [("close", 3)]
    assert told(subject.observed(those[0], IDLE)) == [("close", 1)]
    assert told(subject.observed(those[1], IDLE)) == [("connect", 2)]


def test_one_that_takes_long_makes_place_for_the_next_and_the_first_that_is_ready_stays() -> None:
    clock = Clock()
    subject = limited(1, clock)
    those = backends(4)
    assert told(subject.arrange(those, [])) == [("open", 1)]
    for attempt in (2, 3):
        wake_at = subject.wake_at
        assert wake_at is not None
        assert wake_at == pytest.approx(0.25 * (attempt - 1))
        assert not subject.overdue(wake_at - 0.001)
        assert subject.fill() == []
        clock.now = wake_at
        assert subject.overdue(clock.now)
        assert told(subject.fill()) == [("open", attempt)]
    assert told(subject.observed(those[1], READY)) == [("close", 3), ("close", 1)]
    assert subject.wake_at is None


def test_a_slow_one_that_is_ready_after_all_is_closed_where_another_has_its_place() -> None:
    clock = Clock()
    subject = limited(1, clock)
    those = backends(2)
    subject.arrange(those, [])
    clock.now = 1.0
    subject.overdue(clock.now)
    subject.fill()
    those[0].in_flight.add(object())
    assert subject.observed(those[1], READY) == [], "it carries an RPC that came before"
    those[0].in_flight.pop()
    assert told(subject.observed(those[0], READY)) == [("close", 1)]


def test_a_slow_one_that_fails_is_one_that_fails() -> None:
    clock = Clock()
    subject = limited(1, clock)
    those = backends(2)
    subject.arrange(those, [])
    clock.now = 1.0
    subject.overdue(clock.now)
    subject.fill()
    subject.observed(those[0], FAILED)
    assert (subject.failing, subject.connecting) == (1, 1)
    assert not those[0].slow


def test_each_attempt_of_a_connection_has_its_own_time() -> None:
    clock = Clock()
    subject = limited(1, clock)
    (one,) = backends(1)
    subject.arrange([one], [])
    subject.observed(one, READY)
    assert subject.wake_at is None
    clock.now = 10.0
    assert told(subject.observed(one, IDLE)) == [("connect", 1)]
    assert subject.wake_at == 10.25


def test_one_that_failed_and_takes_long_at_its_next_attempt_is_closed_once() -> None:
    clock = Clock()
    subject = limited(1, clock)
    those = backends(2)
    subject.arrange(those, [])
    subject.observed(those[0], FAILED)
    assert told(subject.observed(those[0], IDLE)) == [("connect", 1)]
    clock.now = 1.0
    subject.overdue(clock.now)
    assert told(subject.observed(those[1], READY)) == [("close", 1)]


def test_an_attempt_that_begins_again_holds_up_no_other_whose_time_is_over() -> None:
    clock = Clock()
    subject = limited(2, clock)
    those = backends(3)
    subject.arrange(those, [])
    clock.now = 0.1
    subject.observed(those[0], IDLE)
    assert subject.wake_at == 0.25
    clock.now = 0.25
    assert subject.overdue(clock.now)
    assert (those[0].slow, those[1].slow) == (False, True)


def test_where_all_are_connected_no_attempt_waits_for_another() -> None:
    subject: ConnectionSet[object] = ConnectionSet(lazy=False, log=EventLog(on=False), now=Clock())
    subject.arrange(backends(3), [])
    assert subject.wake_at is None
