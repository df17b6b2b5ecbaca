from collections.abc import Callable

from client_resolver.config.keywords import Keywords
from client_resolver.config.settings import Settings
from client_resolver.core.channel_state import Outlook
from client_resolver.sync.connection import Handle
from client_resolver.sync.driver import Driver


def driver() -> Driver:
    return Driver(Settings.of("static:///127.0.0.1:1", None, None, None, Keywords()))


class Waiting:
    """A call that waits. `then` is done while it goes on."""

    wake_at: float | None = None
    seen: Outlook[Handle] | None = None

    def __init__(self, then: Callable[["Waiting"], bool]) -> None:
        self.then = then
        self.advanced = 0

    def advance(self) -> bool:
        self.advanced += 1
        return self.then(self)


def test_a_call_that_still_waits_goes_on_again() -> None:
    one = driver()
    call = Waiting(lambda _: True)
    for _ in range(2):
        one.defer(call)
        one.lifecycle.advance(one.pending.due(one.outlook))
    assert call.advanced == 2
    assert one.pending.all() == [call]


def test_a_call_that_has_started_is_let_go() -> None:
    one = driver()
    call = Waiting(lambda _: False)
    one.defer(call)
    one.lifecycle.advance(one.pending.due(one.outlook))
    assert not one.pending


def test_a_call_that_is_deferred_by_another_thread_as_soon_as_it_has_started_is_kept() -> None:
    one = driver()

    def fail_at_once(call: Waiting) -> bool:
        one.defer(call)
        return False

    call = Waiting(fail_at_once)
    one.defer(call)
    one.lifecycle.advance(one.pending.due(one.outlook))
    assert one.pending.all() == [call]


def test_a_call_that_is_deferred_after_the_end_is_told_so() -> None:
    one = driver()
    one.close()
    call = Waiting(lambda _: False)
    assert not one.defer(call)
    assert not one.pending


def test_a_call_that_waits_for_a_time_is_not_due_before() -> None:
    one = driver()
    call = Waiting(lambda _: True)
    call.seen, call.wake_at = one.outlook, float("inf")
    one.defer(call)
    assert one.pending.due(one.outlook) == []
    call.wake_at = 0.0
    assert one.pending.due(one.outlook) == [call]
