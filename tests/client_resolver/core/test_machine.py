from random import Random

from client_resolver.core.address import parse_address
from client_resolver.core.backends import Close, Open, Pool
from client_resolver.core.backoff import FullJitter
from client_resolver.core.machine import Machine
from client_resolver.core.model import Connectivity, Endpoint, ListState, Revision, ServerList
from client_resolver.core.pickers import POLICIES
from client_resolver.core.watch import Watch


def machine(drain_timeout: float | None = None) -> Machine[object]:
    rng = Random(1)
    watch = Watch("b:1", FullJitter(0.1, 1, rng), 30)
    return Machine(
        Pool(POLICIES["round_robin"], rng, drain_timeout), watch, lambda name: POLICIES[name]
    )


def listed(*ports: int, version: int = 0, policy: str = "round_robin") -> ServerList:
    endpoints = tuple(Endpoint(parse_address(f"10.0.0.1:{port}")) for port in ports)
    revision = Revision(f"{ports}{policy}", version, "e")
    return ServerList(endpoints, ListState.PRESENT, revision, service_config=policy)


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
    assert [type(action) for action in actions] == [Open, Close]
    assert actions[1].backend is opened.backend


def test_the_next_thing_due_wakes() -> None:
    subject = machine(drain_timeout=5)
    (opened,) = subject.received(listed(1, version=7), 0.0)
    opened.backend.in_flight.append(None)
    subject.received(listed(2, version=8), 1.0)
    subject.received(listed(3, version=7), 2.0)
    assert subject.wake_at == 6.0
    assert subject.tick(6.0) == [Close(opened.backend)]
    assert subject.wake_at == 32.0


def test_a_failure_to_get_a_list_is_published_and_a_list_ends_it() -> None:
    subject = machine()
    subject.lost("UNAVAILABLE", "refused", 0.0)
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


def test_the_policy_of_a_list_holds_from_the_list_on_and_keeps_the_backends() -> None:
    subject = machine()
    (opened,) = subject.received(listed(1, version=7), 0.0)
    subject.observed(opened.backend, Connectivity.READY)
    subject.publish()
    before = subject.outlook
    weighted = listed(1, version=8, policy="weighted_round_robin")
    assert subject.received(weighted, 1.0) == []
    assert subject.publish()
    assert subject.pool.policy is POLICIES["weighted_round_robin"]
    assert subject.outlook is not before
    assert subject.outlook.picker is not None
    assert subject.outlook.picker.pick() is opened.backend
