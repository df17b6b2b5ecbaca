from client_resolver.core.backend import Backend
from client_resolver.core.idleness import Idleness, UsePicker
from tests.client_resolver.core.pooling import Clock, endpoint


def opened(subject: Idleness[object], port: int, now: float) -> Backend[object]:
    backend: Backend[object] = Backend(endpoint(port))
    backend.opened = True
    subject.opened(backend, now)
    return backend


def test_what_nobody_used_for_so_long_is_found_and_nothing_before() -> None:
    subject: Idleness[object] = Idleness(60)
    one = opened(subject, 1, 0.0)
    two = opened(subject, 2, 30.0)
    assert subject.wake_at == 60.0
    assert subject.found([one, two], 59.0) == []
    assert subject.found([one, two], 60.0) == [one]
    assert subject.wake_at == 90.0


def test_backends_that_become_idle_one_after_another_cost_ten_looks_a_timeout() -> None:
    subject: Idleness[object] = Idleness(60)
    those = [opened(subject, port, port / 10) for port in range(1, 100)]
    looks = 0
    while subject.wake_at is not None:
        looks += 1
        for backend in subject.found(those, subject.wake_at):
            backend.opened = False
    assert looks <= 10


def test_what_carries_an_rpc_was_used_just_now() -> None:
    subject: Idleness[object] = Idleness(60)
    one = opened(subject, 1, 0.0)
    one.in_flight.add(object())
    assert subject.found([one], 100.0) == []
    one.in_flight.pop()
    assert subject.wake_at == 160.0
    assert subject.found([one], 160.0) == [one]


def test_a_pick_is_noted() -> None:
    clock = Clock()
    backend: Backend[object] = Backend(endpoint(1))
    clock.now = 7.0

    class Only:
        def pick(self, key: int = 0, tried: object = ()) -> Backend[object]:
            assert (key, tried) == (5, {1})
            return backend

    assert UsePicker(Only(), clock).pick(5, {1}) is backend
    assert backend.used_at == 7.0


def test_with_nothing_open_there_is_nothing_to_wake_for() -> None:
    subject: Idleness[object] = Idleness(60)
    assert subject.wake_at is None
    assert subject.found([], 1e9) == []
