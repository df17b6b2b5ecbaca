from dataclasses import replace
from random import Random

from client_resolver.core.backend import Backend
from client_resolver.core.ejections import Ejections
from client_resolver.core.events import Ejected, EventLog, Returned
from client_resolver.core.outlier import OutlierDetection
from tests.client_resolver.core.pooling import endpoint

CONFIG = OutlierDetection(consecutive_errors=2, base_ejection_time=20, max_ejection_percent=100)


def make(config: OutlierDetection | None) -> tuple[Ejections[object], list[Backend[object]]]:
    subject: Ejections[object] = Ejections(config, Random(1), EventLog(on=True))
    those: list[Backend[object]] = [Backend(endpoint(port)) for port in (1, 2)]
    subject.keep(those)
    return subject, those


def test_a_backend_is_marked_with_the_time_of_its_return() -> None:
    log = EventLog(on=True)
    subject: Ejections[object] = Ejections(CONFIG, Random(1), log)
    one: Backend[object] = Backend(endpoint(1))
    subject.keep([one])
    assert not subject.ended(one, "UNAVAILABLE", 1.0)
    assert subject.ended(one, "UNAVAILABLE", 2.0)
    marked, events = one.ejected_until, log.take()
    assert marked == 22.0
    assert events == [Ejected(one.address, 20.0, "2 errors in a row")]
    assert not subject.sweep(12.0)
    assert subject.sweep(22.0)
    assert one.ejected_until is None
    assert log.take() == [Returned(one.address)]


def test_without_a_config_nothing_is_counted() -> None:
    subject, (one, _) = make(None)
    assert not subject.on
    assert not any(subject.ended(one, "UNAVAILABLE", 1.0) for _ in range(9))
    assert not subject.sweep(99.0)
    assert subject.wake_at is None


def test_a_config_that_comes_later_knows_the_backends() -> None:
    subject, (one, _) = make(None)
    assert not subject.configure(CONFIG, 0.0)
    assert subject.on
    subject.ended(one, "UNAVAILABLE", 1.0)
    assert subject.ended(one, "UNAVAILABLE", 1.0)


def test_a_longer_ejection_by_config_holds_for_those_that_are_ejected() -> None:
    subject, (one, _) = make(CONFIG)
    for _ in range(2):
        subject.ended(one, "UNAVAILABLE", 0.0)
    assert not subject.configure(replace(CONFIG, base_ejection_time=50), 1.0)
    assert one.ejected_until == 50.0
    assert subject.configure(None, 2.0)
    assert one.ejected_until is None


def test_a_backend_that_is_no_longer_kept_is_clean_and_nothing_is_told() -> None:
    subject, (one, two) = make(CONFIG)
    for _ in range(2):
        subject.ended(one, "UNAVAILABLE", 0.0)
    subject.keep([two])
    assert one.ejected_until is None
    assert not subject.ended(one, "UNAVAILABLE", 1.0)
