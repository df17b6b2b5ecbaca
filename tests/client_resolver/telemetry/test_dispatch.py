import logging

import pytest

from client_resolver.core.events import (
    BalancerLost,
    ConnectionChanged,
    Ejected,
    Event,
    ListChanged,
    ListConfirmed,
    Returned,
)
from client_resolver.core.model import Connectivity, Revision
from client_resolver.telemetry.dispatch import tell, tell_events
from client_resolver.telemetry.observer import Attempt, Observer


class Told(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def connection_changed(
        self, target: str, backend: str, before: Connectivity | None, after: Connectivity | None
    ) -> None:
        self.told.append(("connection_changed", target, backend, before, after))

    def ejected(self, target: str, backend: str, seconds: float, reason: str) -> None:
        self.told.append(("ejected", target, backend, seconds, reason))

    def returned(self, target: str, backend: str) -> None:
        self.told.append(("returned", target, backend))

    def list_changed(self, target: str, revision: Revision, backends: int) -> None:
        self.told.append(("list_changed", target, revision, backends))

    def list_confirmed(self, target: str) -> None:
        self.told.append(("list_confirmed", target))

    def balancer_lost(self, target: str, reason: str) -> None:
        self.told.append(("balancer_lost", target, reason))


class Broken(Observer):
    def returned(self, target: str, backend: str) -> None:
        raise RuntimeError("broken")

    def __repr__(self) -> str:
        return "<Broken>"


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            ConnectionChanged("a:1", None, Connectivity.READY),
            ("connection_changed", "t", "a:1", None, Connectivity.READY),
        ),
        (Ejected("a:1", 30.0, "errors"), ("ejected", "t", "a:1", 30.0, "errors")),
        (Returned("a:1"), ("returned", "t", "a:1")),
        (ListChanged(Revision("d"), 3), ("list_changed", "t", Revision("d"), 3)),
        (ListConfirmed(), ("list_confirmed", "t")),
        (BalancerLost("gone"), ("balancer_lost", "t", "gone")),
    ],
)
def test_every_event_has_its_method(event: Event, told: tuple[object, ...]) -> None:
    observer = Told()
    tell_events([observer], "t", [event])
    assert observer.told == [told]


def test_events_are_told_in_order_to_every_observer() -> None:
    one, other = Told(), Told()
    tell_events([one, other], "t", [ListConfirmed(), Returned("a:1")])
    assert one.told == other.told == [("list_confirmed", "t"), ("returned", "t", "a:1")]


def test_an_observer_that_raises_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    after = Told()
    with caplog.at_level(logging.ERROR, "client_resolver"):
        tell([Broken(), after], Observer.returned, "t", "a:1")
    assert after.told == [("returned", "t", "a:1")]
    assert "observer <Broken>: returned failed" in caplog.text
    assert "RuntimeError: broken" in caplog.text


def test_an_observer_does_nothing_unless_it_is_overridden() -> None:
    observer = Observer()
    attempt = Attempt("t", "/a.B/C", "a:1", 0, False)
    for what, args in (
        (Observer.attempt_started, (attempt,)),
        (Observer.attempt_ended, (attempt, "OK", 0.1)),
        (Observer.rpc_started, ("t", "/a.B/C")),
        (Observer.rpc_ended, ("t", "/a.B/C", "OK", 0.1, 1)),
        (Observer.channel_started, ("t", object)),
        (Observer.channel_closed, ("t", object)),
    ):
        assert what(observer, *args) is None
