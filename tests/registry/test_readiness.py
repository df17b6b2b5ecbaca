"""Whether the service is ready, and who is told of it."""

from functools import partial

from lookaside.registry.readiness import Readiness
from lookaside.registry.steps import WAKES
from tests.registry.test_store_steps import Later


def test_a_drain_tells_watches_some_at_a_time_and_none_that_has_gone() -> None:
    worker = Later()
    readiness = Readiness([], worker)
    woken: list[int] = []
    forget = [readiness.subscribe(partial(woken.append, n)) for n in range(3 * WAKES)]
    readiness.drain()
    assert not readiness.ready
    assert woken == []
    forget[-1]()
    assert worker.step() == WAKES == len(woken)
    worker.finish()
    assert woken == list(range(3 * WAKES - 1))


def test_a_source_that_has_synced_and_a_drain_are_told_at_once_without_a_worker() -> None:
    readiness = Readiness(["one", "two"])
    told: list[bool] = []
    readiness.subscribe(lambda: told.append(readiness.ready))
    readiness.synced("one")
    readiness.synced("two")
    readiness.drain()
    assert told == [False, True, False]
