from random import Random

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.backends import Backend, Close, Connect, Open, Pool
from client_resolver.core.model import Connectivity, Endpoint
from client_resolver.core.pickers import POLICIES

IDLE, CONNECTING, READY, FAILED = (
    Connectivity.IDLE,
    Connectivity.CONNECTING,
    Connectivity.READY,
    Connectivity.TRANSIENT_FAILURE,
)


def endpoint(port: int, weight: int = 1) -> Endpoint:
    return Endpoint(parse_address(f"10.0.0.1:{port}"), weight)


def pool(drain_timeout: float | None = None) -> Pool[object]:
    return Pool(POLICIES["weighted_round_robin"], Random(1), drain_timeout)


def opened(subject: Pool[object], *ports: int) -> list[Backend[object]]:
    actions = subject.update([endpoint(port) for port in ports], 0.0)
    backends = [action.backend for action in actions if isinstance(action, Open)]
    for backend in backends:
        subject.observed(backend, READY)
    return backends


def test_new_endpoints_are_opened_and_picked_once_ready() -> None:
    subject = pool()
    actions = subject.update([endpoint(1), endpoint(2)], 0.0)
    assert [type(action) for action in actions] == [Open, Open]
    assert subject.picker() is None
    subject.observed(actions[0].backend, READY)
    picker = subject.picker()
    assert picker is not None
    assert {picker.pick() for _ in range(3)} == {actions[0].backend}


def test_a_change_of_weight_keeps_the_connection() -> None:
    subject = pool()
    (backend,) = opened(subject, 1)
    assert subject.update([endpoint(1, weight=9)], 0.0) == []
    assert backend.weight == 9
    assert backend.connectivity is READY


def test_a_weight_of_zero_keeps_the_connection_and_gets_no_rpc() -> None:
    subject = pool()
    opened(subject, 1)
    assert subject.update([endpoint(1, weight=0)], 0.0) == []
    assert subject.picker() is None
    assert subject.usable == []
    assert subject.listed == 1


def test_an_idle_backend_that_leaves_is_closed_at_once() -> None:
    subject = pool()
    first, second = opened(subject, 1, 2)
    assert subject.update([endpoint(2)], 0.0) == [Close(first)]
    assert list(subject) == [second]


def test_a_backend_that_leaves_is_closed_after_its_last_rpc() -> None:
    subject = pool()
    first, _ = opened(subject, 1, 2)
    first.in_flight.append(None)
    assert subject.update([endpoint(2)], 0.0) == []
    assert first.draining
    assert subject.drained(1e9) == []
    assert "draining" in repr(first)
    first.in_flight.pop()
    assert subject.drained(1.0) == [Close(first)]
    assert subject.drained(1.0) == []


def test_a_backend_that_comes_back_while_it_drains_is_the_same() -> None:
    subject = pool(drain_timeout=10)
    first, _ = opened(subject, 1, 2)
    first.in_flight.append(None)
    subject.update([endpoint(2)], 0.0)
    assert subject.wake_at == 10.0
    assert subject.update([endpoint(1), endpoint(2)], 1.0) == []
    assert not first.draining
    assert subject.wake_at is None


def test_the_time_to_drain_is_bounded_where_it_is_set() -> None:
    subject = pool(drain_timeout=10)
    (first,) = opened(subject, 1)
    first.in_flight.append(None)
    subject.update([], 5.0)
    assert subject.drained(14.9) == []
    assert subject.drained(15.0) == [Close(first)]


def test_a_connection_that_goes_idle_is_connected_again_unless_it_drains() -> None:
    subject = pool()
    (first,) = opened(subject, 1)
    assert subject.observed(first, IDLE) == [Connect(first)]
    first.in_flight.append(None)
    subject.update([], 0.0)
    assert subject.observed(first, IDLE) == []


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
    subject = pool()
    actions = subject.update([endpoint(port + 1) for port in range(len(states))], 0.0)
    for action, state in zip(actions, states, strict=True):
        subject.observed(action.backend, state)
    assert subject.connectivity() is together


def test_a_failed_connection_counts_as_failed_until_it_is_ready() -> None:
    subject = pool()
    (action,) = subject.update([endpoint(1)], 0.0)
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
    subject = pool()
    first, second = opened(subject, 1, 2)
    first.in_flight.append(None)
    subject.update([endpoint(2)], 0.0)
    assert subject.close() == [Close(second), Close(first)]
    assert list(subject) == []
