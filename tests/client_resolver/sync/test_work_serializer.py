import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from client_resolver.sync.work_serializer import WorkSerializer

T = TypeVar("T")


def beside(work: Callable[[], T]) -> T:
    """Do something on another thread, which is not the main one."""
    done: list[T] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    thread.join(20)
    return done[0]


def test_the_main_thread_changes_nothing_but_hands_it_over() -> None:
    handed: list[None] = []
    done: list[str] = []
    serializer = WorkSerializer(lambda: handed.append(None))
    serializer.post(lambda: done.append("posted"))
    assert (len(handed), done) == (1, [])
    beside(serializer.drain)
    assert done == ["posted"]


def test_any_other_thread_does_what_it_brings_and_what_is_there() -> None:
    done: list[str] = []
    serializer = WorkSerializer(lambda: None)
    serializer.post(lambda: done.append("first"))
    beside(lambda: serializer.post(lambda: done.append("second")))
    assert done == ["first", "second"]


def test_who_interrupts_a_change_leaves_his_own_behind_and_reads_nothing() -> None:
    done: list[object] = []
    serializer = WorkSerializer(lambda: None)

    def change() -> None:
        serializer.post(lambda: done.append("nested"))
        done.append(serializer.read(lambda: "half"))
        assert serializer.held

    beside(lambda: serializer.post(change))
    assert done == [None, "nested"]
    assert serializer.read(lambda: "whole") == "whole"
    assert not serializer.held


def test_a_call_returns_or_raises_what_comes_of_it() -> None:
    serializer = WorkSerializer(lambda: None)
    done: list[str] = []
    serializer.post(lambda: done.append("before"))
    assert beside(lambda: serializer.call(lambda: "answer")) == "answer"
    assert done == ["before"]

    def fails() -> None:
        raise LookupError

    def call() -> str:
        with pytest.raises(LookupError):
            serializer.call(fails)
        return "raised"

    assert beside(call) == "raised"
    assert serializer.read(lambda: "free") == "free"


def test_work_that_raises_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    serializer = WorkSerializer(lambda: None)
    done: list[str] = []

    def fails() -> None:
        raise LookupError("of the application")

    serializer.post(fails)
    serializer.post(lambda: done.append("next"))
    beside(serializer.drain)
    assert done == ["next"]
    assert "of the application" in caplog.text


def test_a_reader_waits_for_another_threads_change() -> None:
    inside, leave = threading.Event(), threading.Event()
    serializer = WorkSerializer(lambda: None)

    def change() -> None:
        inside.set()
        leave.wait(20)

    thread = threading.Thread(target=serializer.call, args=(change,))
    thread.start()
    assert inside.wait(20)
    threading.Timer(0.01, leave.set).start()
    assert serializer.read(lambda: "whole") == "whole"
    thread.join(20)
