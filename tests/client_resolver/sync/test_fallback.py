import threading
from random import Random

import pytest

from client_resolver.core.model import ServerList
from client_resolver.core.polling import Polling
from client_resolver.sync.fallback import Fallback
from client_resolver.sync.poller import Poller

BOUND = 20.0
NEVER = 3600.0


class Looked:
    def __init__(self) -> None:
        self.event = threading.Event()

    def found(self, answer: ServerList) -> None:
        self.event.set()

    def failed(self, why: str) -> None:
        raise AssertionError(why)


def started(looked: Looked, after: float) -> tuple[Fallback, threading.Thread]:
    subject = Fallback(Poller(lambda: ServerList(()), Polling(NEVER, Random(1)), looked), after)
    thread = threading.Thread(target=subject.run)
    thread.start()
    return subject, thread


@pytest.mark.parametrize(("after", "wanted"), [(0.01, False), (NEVER, True)])
def test_a_fallback_is_looked_up_when_it_is_wanted_or_after_a_while(
    after: float, wanted: bool
) -> None:
    looked = Looked()
    subject, thread = started(looked, after)
    if wanted:
        subject.wanted()
    assert looked.event.wait(BOUND)
    subject.over()
    thread.join(BOUND)
    assert not thread.is_alive()


def test_a_fallback_that_is_never_wanted_is_never_looked_up() -> None:
    looked = Looked()
    subject, thread = started(looked, NEVER)
    subject.over()
    subject.wanted()
    thread.join(BOUND)
    assert not thread.is_alive()
    assert not looked.event.is_set()
