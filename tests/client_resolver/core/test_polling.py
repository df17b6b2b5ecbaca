from random import Random

import pytest

from client_resolver.core.polling import MIN_GAP, Polling


class Highest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(Random):
    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_first_look_is_due_at_once() -> None:
    assert Polling(30.0, Lowest()).due_at <= 0.0


@pytest.mark.parametrize(("rng", "due_at"), [(Lowest(), 137.0), (Highest(), 143.0)])
def test_an_answer_is_followed_by_another_look_an_interval_later(
    rng: Random, due_at: float
) -> None:
    subject = Polling(30.0, rng)
    subject.begun(100.0)
    subject.succeeded(110.0)
    assert subject.due_at == due_at


def test_nothing_is_due_while_a_look_is_under_way() -> None:
    subject = Polling(30.0, Lowest())
    subject.begun(100.0)
    assert subject.due_at == float("inf")


def test_looks_that_fail_are_ever_further_apart_up_to_the_interval() -> None:
    subject = Polling(6.0, Highest())
    waits = []
    for _ in range(5):
        subject.begun(100.0)
        subject.failed(100.0)
        waits.append(subject.due_at - 100.0)
    assert waits == [1.0, 2.0, 4.0, 6.0, 6.0]
    subject.begun(100.0)
    subject.succeeded(100.0)
    subject.begun(200.0)
    subject.failed(200.0)
    assert subject.due_at == 201.0


@pytest.mark.parametrize(
    ("since_the_last_look", "wait"), [(0.5, MIN_GAP - 0.5), (MIN_GAP, 0.0), (20.0, 0.0)]
)
def test_a_backend_that_fails_brings_the_next_look_no_nearer_than_the_gap(
    since_the_last_look: float, wait: float
) -> None:
    subject = Polling(30.0, Lowest())
    subject.begun(100.0)
    subject.succeeded(100.0)
    now = 100.0 + since_the_last_look
    subject.backend_failed(now)
    assert subject.due_at == now + wait


def test_a_backend_that_fails_a_thousand_times_causes_a_look_per_gap() -> None:
    subject = Polling(30.0, Random(3))
    looks, now = 0, 0.0
    while now < 100.0:
        if subject.due_at <= now:
            subject.begun(now)
            subject.succeeded(now)
            looks += 1
        subject.backend_failed(now)
        now += 0.1
    assert looks <= 1 + 100.0 / MIN_GAP


def test_clients_that_lose_a_backend_together_do_not_look_together() -> None:
    rng = Random(3)
    due = []
    for _ in range(100):
        subject = Polling(30.0, rng)
        subject.begun(0.0)
        subject.succeeded(0.0)
        subject.backend_failed(60.0)
        due.append(subject.due_at - 60.0)
    assert max(due) <= MIN_GAP / 10
    assert max(due) - min(due) > MIN_GAP / 20


def test_a_backend_that_fails_during_a_look_causes_one_more_after_it() -> None:
    subject = Polling(30.0, Lowest())
    subject.begun(100.0)
    subject.backend_failed(101.0)
    subject.succeeded(102.0)
    assert subject.due_at == 100.0 + MIN_GAP


def test_what_is_asked_for_now_is_due_now_whatever_came_before() -> None:
    subject = Polling(30.0, Highest())
    subject.begun(100.0)
    subject.succeeded(100.0)
    subject.resolve_now(100.5)
    assert subject.due_at == 100.5


def test_what_is_asked_for_during_a_look_is_due_when_it_has_ended() -> None:
    subject = Polling(30.0, Highest())
    subject.begun(100.0)
    subject.resolve_now(101.0)
    subject.failed(102.0)
    assert subject.due_at == 101.0


def test_a_short_interval_is_kept_to_when_backends_fail() -> None:
    subject = Polling(0.5, Lowest())
    subject.begun(100.0)
    subject.succeeded(100.0)
    subject.backend_failed(100.1)
    assert subject.due_at <= 100.5
