import threading
from random import Random

import pytest

from client_resolver.config.target import parse_target
from client_resolver.core.address import parse_address
from client_resolver.core.model import Endpoint, ServerList
from client_resolver.core.polling import Polling
from client_resolver.sync.poller import Poller, look_of

BOUND = 20.0
NEVER = 3600.0
ANSWER = ServerList((Endpoint(parse_address("10.0.0.1:80")),))


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[ServerList | str] = []
        self._changed = threading.Condition()

    def found(self, answer: ServerList) -> None:
        self.failed(answer)

    def failed(self, why: ServerList | str) -> None:
        with self._changed:
            self.told.append(why)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, BOUND)


def test_answers_and_errors_are_told_until_it_is_stopped() -> None:
    outcomes: list[ServerList | Exception] = [OSError("no route"), ANSWER, ValueError()]

    def look() -> ServerList:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    heard = Heard()
    poller = Poller(look, Polling(0.001, Random(1)), heard)
    thread = threading.Thread(target=poller.run)
    thread.start()
    heard.wait(3)
    poller.stop()
    thread.join(BOUND)
    assert not thread.is_alive()
    # What follows is that the list of outcomes is empty.
    assert heard.told[:3] == ["OSError: no route", ANSWER, "ValueError"]


def test_what_is_found_after_the_stop_is_told_to_nobody() -> None:
    looking, gate = threading.Event(), threading.Event()

    def look() -> ServerList:
        looking.set()
        assert gate.wait(BOUND)
        return ANSWER

    heard = Heard()
    poller = Poller(look, Polling(NEVER, Random(1)), heard)
    thread = threading.Thread(target=poller.run)
    thread.start()
    assert looking.wait(BOUND)
    poller.stop()
    gate.set()
    thread.join(BOUND)
    assert not thread.is_alive()
    assert heard.told == []


def test_two_looks_are_never_under_way_at_once() -> None:
    guard = threading.Lock()
    overlaps: list[bool] = []

    def look() -> ServerList:
        overlaps.append(not guard.acquire(blocking=False))
        poller.resolve_now()
        guard.release()
        return ANSWER

    heard = Heard()
    poller = Poller(look, Polling(NEVER, Random(1)), heard)
    thread = threading.Thread(target=poller.run)
    thread.start()
    heard.wait(20)
    poller.stop()
    thread.join(BOUND)
    assert not any(overlaps)


def test_a_fixed_list_is_its_own_answer() -> None:
    target = parse_target("static:///10.0.0.1:80", {})
    assert look_of(target, {})() == ANSWER  # type: ignore[arg-type]


@pytest.mark.parametrize("poked_before_the_start", [True, False])
def test_it_looks_at_once_however_it_is_poked(poked_before_the_start: bool) -> None:
    heard = Heard()
    poller = Poller(lambda: ANSWER, Polling(NEVER, Random(1)), heard)
    if poked_before_the_start:
        poller.backend_failed()
    thread = threading.Thread(target=poller.run)
    thread.start()
    heard.wait(1)
    poller.stop()
    thread.join(BOUND)
