import threading

from client_resolver.sync.wakeups import Wakeup, Wakeups


def test_a_wakeup_that_was_set_before_wakes_once() -> None:
    one = Wakeup()
    one.set()
    one.set()
    assert one.wait(0)
    assert not one.wait(0)


def test_a_wakeup_wakes_who_waits() -> None:
    one = Wakeup()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(one.wait(20)))
    thread.start()
    one.set()
    thread.join(20)
    assert woken == [True]


def test_a_time_that_is_over_or_endless_is_no_mistake() -> None:
    one = Wakeup()
    assert not one.wait(-1.0)
    one.set()
    assert one.wait(float("inf"))


def test_all_that_wait_are_woken() -> None:
    all_, one, other = Wakeups(), Wakeup(), Wakeup()
    all_.add(one)
    all_.add(other)
    all_.set()
    assert one.wait(0)
    all_.remove(one)
    all_.remove(one)
    all_.set()
    assert not one.wait(0)
    assert other.wait(0)
