from random import Random

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.backoff import FullJitter
from client_resolver.core.model import Code, Endpoint, ListState, Revision, ServerList
from client_resolver.core.watch import Watch


def listed(
    *ports: int, revision: Revision | None = None, state: ListState = ListState.PRESENT
) -> ServerList:
    endpoints = tuple(Endpoint(parse_address(f"10.0.0.1:{port}")) for port in ports)
    return ServerList(endpoints, state, revision or Revision())


def watch(hold: float = 30.0) -> Watch:
    return Watch("balancer:50052", FullJitter(0.1, 10, Random(1)), hold)


HELD = Revision("b", 7, "e")


@pytest.mark.parametrize(
    ("revision", "taken"),
    [
        (Revision("c", 8, "e"), True),
        (Revision("c", 7, "e"), True),
        (Revision("c", 6, "e"), False),
        (Revision("c", 0, "e"), True),
        (Revision("c", 6, "f"), True),
        (Revision("b", 9, "e"), False),
        (Revision("", 8, "e"), True),
    ],
)
def test_a_revision_decides_whether_a_list_is_taken(revision: Revision, taken: bool) -> None:
    subject = watch()
    assert subject.received(listed(1, revision=HELD), 0.0)
    assert subject.received(listed(2, revision=revision), 1.0) is taken
    assert subject.current is not None
    assert subject.current.endpoints[0].address.text.endswith(":2" if taken else ":1")


def test_a_list_without_order_is_taken_whatever_came_before() -> None:
    subject = watch()
    subject.received(listed(1, revision=Revision("a", 0, "e")), 0.0)
    assert subject.received(listed(2, revision=Revision("b", 3, "e")), 0.0)


def test_lists_without_a_digest_are_compared_by_what_they_have() -> None:
    subject = watch()
    assert subject.received(listed(1), 0.0)
    assert not subject.received(listed(1), 0.0)
    assert subject.received(listed(2), 0.0)


def test_a_list_that_still_holds_is_ordered_by_its_later_version() -> None:
    subject = watch()
    subject.received(listed(1, revision=Revision("a", 5, "e")), 0.0)
    assert not subject.received(listed(1, revision=Revision("a", 9, "e")), 0.0)
    assert not subject.received(listed(2, revision=Revision("b", 7, "e")), 0.0)
    assert subject.wake_at == 30.0


def test_an_older_list_is_put_off_for_a_bounded_time_and_then_the_newest_of_it_taken() -> None:
    subject = watch(hold=30)
    subject.received(listed(1, revision=HELD), 0.0)
    assert not subject.received(listed(2, revision=Revision("x", 5, "e")), 10.0)
    assert not subject.received(listed(3, revision=Revision("y", 6, "e")), 20.0)
    assert subject.wake_at == 40.0
    assert not subject.expire(39.9)
    assert subject.expire(40.0)
    assert subject.current is not None
    assert subject.current.endpoints[0].address.text == "10.0.0.1:3"
    assert subject.wake_at is None


def test_a_replica_that_has_caught_up_ends_the_wait() -> None:
    subject = watch()
    subject.received(listed(1, revision=HELD), 0.0)
    subject.received(listed(2, revision=Revision("x", 5, "e")), 10.0)
    assert not subject.received(listed(1, revision=HELD), 20.0)
    assert subject.wake_at is None


def test_the_list_of_a_lost_watch_is_not_taken_later() -> None:
    subject = watch()
    subject.received(listed(1, revision=HELD), 0.0)
    subject.received(listed(2, revision=Revision("x", 5, "e")), 10.0)
    subject.lost("UNAVAILABLE", "gone")
    assert subject.wake_at is None
    assert not subject.expire(100.0)


def test_a_stale_list_with_servers_is_taken_and_one_without_is_not() -> None:
    subject = watch()
    subject.received(listed(1, state=ListState.STALE), 0.0)
    assert not subject.received(listed(state=ListState.STALE), 0.0)
    assert subject.current is not None
    assert len(subject.current.endpoints) == 1
    assert subject.received(listed(state=ListState.EMPTY), 0.0)


def test_the_last_list_is_kept_when_the_watch_is_lost() -> None:
    subject = watch()
    subject.received(listed(1, 2), 0.0)
    lost = subject.lost("UNAVAILABLE", "gone")
    assert subject.current is not None
    assert subject.failure is None
    assert "the 2 backends last known are kept" in lost.warning
    assert 0 <= lost.delay <= 0.1


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("INVALID_ARGUMENT", Code.INVALID_ARGUMENT),
        ("PERMISSION_DENIED", Code.PERMISSION_DENIED),
        ("UNAVAILABLE", Code.UNAVAILABLE),
        ("INTERNAL", Code.UNAVAILABLE),
        ("OK", Code.UNAVAILABLE),
    ],
)
def test_without_a_list_an_error_is_why_rpcs_fail(code: str, failure: Code) -> None:
    subject = watch()
    assert not subject.lost(code, "why").repeated
    assert subject.failure is not None
    assert subject.failure.code is failure
    assert "balancer:50052" in subject.failure.details
    assert "why" in subject.failure.details
    assert subject.lost(code, "why").repeated
    subject.received(listed(1), 0.0)
    assert subject.failure is None


def test_a_message_resets_the_backoff() -> None:
    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    assert [subject.lost("OK", "").delay for _ in range(3)] == [0.1, 0.2, 0.4]
    subject.received(listed(1), 0.0)
    lost = subject.lost("OK", "")
    assert lost.delay == 0.1
    assert not lost.repeated
