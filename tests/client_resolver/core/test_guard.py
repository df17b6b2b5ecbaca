import threading

import pytest

from client_resolver.core.guard import Guard, owned


def test_one_thread_is_inside_at_a_time() -> None:
    guard = Guard()
    inside = threading.Event()
    leave = threading.Event()
    done: list[str] = []

    def stay() -> None:
        inside.set()
        assert leave.wait(20)
        done.append("first")

    first = threading.Thread(target=guard.run, args=(stay, stay))
    second = threading.Thread(
        target=guard.run, args=(lambda: done.append("second"), lambda: done.append("interrupted"))
    )
    first.start()
    assert inside.wait(20)
    second.start()
    leave.set()
    for one in (first, second):
        one.join(20)
    assert done == ["first", "second"]


def test_who_interrupts_his_own_thread_does_something_else() -> None:
    guard = Guard()

    def work() -> str:
        return guard.run(lambda: "waits for itself", lambda: "else")

    assert guard.run(work, lambda: "never") == "else"
    assert guard.run(lambda: "again", lambda: "never") == "again"


def test_it_is_left_whatever_is_raised_inside() -> None:
    guard = Guard()

    def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        guard.run(fails, fails)
    assert guard.run(lambda: "free", lambda: "taken") == "free"


def test_a_reentrant_lock_tells_whose_it_is() -> None:
    lock = threading.RLock()
    seen: list[bool] = []
    assert not owned(lock)
    with lock:
        assert owned(lock)
        other = threading.Thread(target=lambda: seen.append(owned(lock)))
        other.start()
        other.join(20)
    assert seen == [False]
