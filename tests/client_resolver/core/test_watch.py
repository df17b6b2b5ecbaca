from dataclasses import replace
from random import Random

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.backoff import FullJitter
from client_resolver.core.delta import Delta, UnknownBase
from client_resolver.core.model import Code, Endpoint, Failure, ListState, Revision, ServerList
from client_resolver.core.watch import Watch, is_firm


class Highest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def listed(
    *ports: int, revision: Revision | None = None, state: ListState = ListState.PRESENT
) -> ServerList:
    endpoints = tuple(Endpoint(parse_address(f"10.0.0.1:{port}")) for port in ports)
    return ServerList(endpoints, state, revision or Revision())


def watch(hold: float = 30.0) -> Watch:
    return Watch("balancer lb:50052", FullJitter(0.1, 10, Random(1)), hold)


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
    subject.lost(Code.UNAVAILABLE, "gone", 11.0)
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
    lost = subject.lost(Code.UNAVAILABLE, "gone", 11.0)
    assert subject.current is not None
    assert subject.failure is None
    assert "the 2 backends last known are kept" in lost.text
    assert 0 <= lost.delay <= 0.1


def test_with_several_balancers_rpcs_wait_until_each_has_been_asked() -> None:
    subject = Watch("balancers a:1, b:1", FullJitter(0.1, 10, Random(1)), 30.0, balancers=2)
    first = subject.lost(Code.UNAVAILABLE, "at a:1: why", 0.0)
    assert not first.all_asked
    assert first.text == "one of the balancers a:1, b:1 gives no list: UNAVAILABLE: at a:1: why"
    assert subject.failure is None
    for _ in range(2):
        assert subject.lost(Code.UNAVAILABLE, "at b:1: why", 1.0).all_asked
        text = "each of the balancers a:1, b:1 gives no list: UNAVAILABLE: at b:1: why"
        assert subject.failure == Failure(Code.UNAVAILABLE, text)


def test_one_balancer_of_several_that_refuses_is_why_rpcs_fail() -> None:
    subject = Watch("balancers a:1, b:1", FullJitter(0.1, 10, Random(1)), 30.0, balancers=2)
    subject.lost(Code.PERMISSION_DENIED, "at a:1: no", 0.0)
    text = "one of the balancers a:1, b:1 refuses: PERMISSION_DENIED: at a:1: no"
    assert subject.failure == Failure(Code.UNAVAILABLE, text)


def test_of_several_balancers_one_is_lost_at_a_time() -> None:
    subject = Watch("balancers a:1, b:1", FullJitter(0.1, 10, Random(1)), 30.0, balancers=2)
    subject.received(listed(1), 0.0)
    lost = subject.lost(Code.UNAVAILABLE, "at a:1: why", 1.0)
    assert lost.text.startswith("one of the balancers a:1, b:1 is lost (UNAVAILABLE: at a:1: why)")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (Code.INVALID_ARGUMENT, Code.UNAVAILABLE),
        (Code.PERMISSION_DENIED, Code.UNAVAILABLE),
        (Code.UNAVAILABLE, Code.UNAVAILABLE),
        (Code.INTERNAL, Code.UNAVAILABLE),
        (Code.OK, Code.UNAVAILABLE),
    ],
)
def test_without_a_list_an_error_is_why_rpcs_fail(code: Code, failure: Code) -> None:
    subject = watch()
    assert subject.lost(code, "why", 1.0).expected is (code is Code.OK)
    assert subject.failure is not None
    assert subject.failure.code is failure
    assert "balancer lb:50052 " in subject.failure.details
    assert "why" in subject.failure.details
    assert subject.lost(code, "why", 1.0).expected
    subject.received(listed(1), 0.0)
    assert subject.failure is None


def test_a_message_resets_the_backoff() -> None:
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    assert [subject.lost(Code.OK, "", 0.0).delay for _ in range(3)] == [0.1, 0.2, 0.4]
    subject.received(listed(1), 0.0)
    lost = subject.lost(Code.UNAVAILABLE, "", 0.0)
    assert lost.delay == 0.1
    assert not lost.expected


def test_a_list_of_the_same_servers_with_another_service_config_is_taken() -> None:
    subject = watch()
    subject.received(listed(1), 0.0)
    assert subject.received(replace(listed(1), service_config="{}"), 0.0)


def delta(
    base: str, *ports: int, revision: Revision | None = None, removed: tuple[int, ...] = ()
) -> Delta:
    gone = tuple(f"10.0.0.1:{port}" for port in removed)
    return Delta(base, listed(*ports, revision=revision), gone)


def ports_of(subject: Watch) -> list[int]:
    assert subject.current is not None
    return [int(e.address.text.rpartition(":")[2]) for e in subject.current.endpoints]


def test_the_revision_held_is_named_as_known_where_it_has_a_digest() -> None:
    subject = watch()
    assert subject.begun(0.0) is None
    subject.received(listed(1), 0.0)
    assert subject.begun(1.0) is None
    subject.received(listed(1, revision=HELD), 1.0)
    assert subject.begun(2.0) == HELD


def test_a_delta_applies_to_the_list_named_as_known_and_then_to_the_one_sent_last() -> None:
    subject = watch()
    subject.begun(0.0)
    subject.received(listed(1, 3, revision=HELD), 0.0)
    subject.begun(1.0)
    assert subject.received(delta("b", 2, revision=Revision("c", 8, "e")), 1.0)
    assert ports_of(subject) == [1, 2, 3]
    assert subject.received(delta("c", revision=Revision("d", 9, "e"), removed=(1, 3)), 2.0)
    assert ports_of(subject) == [2]


def test_a_delta_applies_to_its_streams_own_list_while_that_is_put_off() -> None:
    subject = watch()
    subject.begun(0.0)
    subject.received(listed(1, revision=Revision("b", 9, "e")), 0.0)
    subject.begun(1.0)
    assert not subject.received(listed(2, revision=Revision("x", 5, "e")), 1.0)
    assert not subject.received(delta("x", 3, revision=Revision("y", 6, "e")), 2.0)
    assert ports_of(subject) == [1]
    assert subject.received(delta("y", 4, revision=Revision("z", 10, "e")), 3.0)
    assert ports_of(subject) == [2, 3, 4]


@pytest.mark.parametrize("base", ["", "other"])
def test_a_delta_of_a_list_that_is_not_held_changes_nothing(base: str) -> None:
    subject = watch()
    subject.begun(0.0)
    subject.received(listed(1, revision=HELD), 0.0)
    with pytest.raises(UnknownBase):
        subject.received(delta(base, 2, revision=Revision("c", 8, "e")), 1.0)
    assert ports_of(subject) == [1]
    assert subject.lost(Code.ABORTED, "", 1.0).expected
    assert subject.begun(2.0) is None


def test_a_list_of_an_earlier_stream_is_no_base() -> None:
    subject = watch()
    subject.begun(0.0)
    subject.received(listed(1, revision=Revision("b", 9, "e")), 0.0)
    subject.received(listed(2, revision=Revision("a", 8, "e")), 0.0)
    subject.begun(1.0)
    with pytest.raises(UnknownBase):
        subject.received(delta("a", 3, revision=Revision("c", 10, "e")), 1.0)


def test_a_balancer_whose_deltas_never_fit_is_asked_ever_more_seldom() -> None:
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    delays = []
    for _ in range(3):
        assert subject.begun(0.0) is None
        subject.received(listed(1, revision=HELD), 0.0)
        with pytest.raises(UnknownBase):
            subject.received(delta("x", 2), 0.0)
        delays.append(subject.lost(Code.ABORTED, "", 0.0).delay)
    assert delays == [0.1, 0.2, 0.4]
    subject.begun(1.0)
    subject.received(listed(1, revision=HELD), 1.0)
    subject.received(delta("b", 2, revision=Revision("c", 8, "e")), 1.0)
    assert subject.lost(Code.OK, "", 1.0).delay == 0.1
    assert subject.begun(2.0) == Revision("c", 8, "e")


@pytest.mark.parametrize(
    ("code", "details", "lasted", "worked"),
    [
        (Code.OK, "", 100.0, True),
        (Code.UNAVAILABLE, "the balancer is shutting down", 100.0, True),
        (Code.OK, "", 0.1, False),
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: x", 100.0, False),
        (Code.UNAVAILABLE, "at b:1: DNS resolution failed for b:1", 100.0, False),
    ],
)
def test_a_watch_that_had_nothing_to_say_worked_if_it_lasted(
    code: Code, details: str, lasted: float, worked: bool
) -> None:
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    subject.begun(0.0)
    subject.received(listed(1, revision=HELD), 0.0)
    assert subject.lost(Code.UNAVAILABLE, "gone", 1.0).delay == 0.1
    subject.begun(2.0)
    lost = subject.lost(code, details, 2.0 + lasted)
    assert lost.delay == (0.1 if worked else 0.2)
    assert lost.expected is (not worked or code is Code.OK)


def provisional(*ports: int) -> ServerList:
    return replace(listed(*ports), provisional=True)


def test_a_provisional_list_is_used_until_there_is_another() -> None:
    subject = watch()
    assert subject.received(provisional(1), 0.0)
    assert ports_of(subject) == [1]
    assert subject.failure is None
    assert not subject.received(provisional(1), 1.0)
    assert subject.received(provisional(1, 2), 2.0)
    assert subject.received(listed(3), 3.0)
    assert not subject.received(provisional(1), 4.0)
    assert ports_of(subject) == [3]


def test_the_balancers_list_replaces_a_provisional_one_of_the_same_servers() -> None:
    subject = watch()
    subject.received(provisional(1), 0.0)
    assert subject.received(listed(1), 1.0)
    assert is_firm(subject.current)


@pytest.mark.parametrize("state", [ListState.ABSENT, ListState.EMPTY])
def test_a_balancer_that_says_there_is_nothing_ends_the_use_of_a_provisional_list(
    state: ListState,
) -> None:
    subject = watch()
    subject.received(provisional(1), 0.0)
    assert subject.received(listed(state=state), 1.0)
    assert not subject.received(provisional(1), 2.0)
    assert ports_of(subject) == []


def test_a_balancer_without_a_source_takes_no_provisional_list_away() -> None:
    subject = watch()
    subject.received(listed(state=ListState.STALE), 0.0)
    assert subject.received(provisional(1), 1.0)
    assert not subject.received(listed(state=ListState.STALE), 2.0)
    assert ports_of(subject) == [1]


def test_a_provisional_list_is_never_named_as_known() -> None:
    subject = watch()
    subject.received(replace(listed(1, revision=HELD), provisional=True), 0.0)
    assert subject.begun(1.0) is None


def test_a_provisional_list_says_nothing_of_the_balancer() -> None:
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    assert subject.lost(Code.UNAVAILABLE, "", 0.0).delay == 0.1
    subject.received(provisional(1, 2), 0.0)
    lost = subject.lost(Code.UNAVAILABLE, "gone", 0.0)
    assert lost.delay == 0.2
    assert lost.expected
    assert "the 2 backends of the fallback are used" in lost.text


def test_a_list_from_before_the_first_watch_is_named_as_known_and_held() -> None:
    subject = watch()
    subject.received(listed(1, revision=HELD), 0.0)
    assert subject.begun(0.0) == HELD
    assert not subject.received(provisional(2), 1.0)
    assert subject.received(delta("b", 2, revision=Revision("c", 8, "e")), 1.0)
    assert ports_of(subject) == [1, 2]


def with_fallback() -> Watch:
    return Watch("balancer lb:1", FullJitter(0.1, 10, Random(1)), 30.0, fallback=True)


def why(subject: Watch) -> str | None:
    return None if subject.failure is None else subject.failure.details


def provisional_of(subject: Watch) -> bool | None:
    return None if subject.listed is None else subject.listed.provisional


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.PERMISSION_DENIED])
def test_rpcs_wait_until_the_fallback_has_answered_or_failed(code: Code) -> None:
    subject = with_fallback()
    subject.lost(code, "why", 0.0)
    assert why(subject) is None
    subject.fallback_failed("no such name")
    assert str(why(subject)).endswith("why; the fallback can't be used: no such name")
    subject.received(provisional(1), 1.0)
    assert why(subject) is None
    assert provisional_of(subject)


@pytest.mark.parametrize("answer", [(1,), ()])
def test_rpcs_go_by_a_stale_list_without_backends_only_where_no_fallback_is_to_come(
    answer: tuple[int, ...],
) -> None:
    nothing = listed(state=ListState.STALE)
    subject = with_fallback()
    assert subject.received(nothing, 0.0)
    assert provisional_of(subject) is None
    subject.received(provisional(*answer), 1.0)
    assert provisional_of(subject)
    alone = watch()
    alone.received(nothing, 0.0)
    assert alone.listed == nothing


def test_a_list_with_backends_needs_no_fallback() -> None:
    subject = with_fallback()
    subject.received(listed(1), 0.0)
    assert provisional_of(subject) is False


def test_a_balancer_whose_messages_cant_be_used_is_warned_of_once_and_asked_ever_more_seldom() -> (
    None
):
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    told = []
    for _ in range(4):
        subject.begun(0.0)
        subject.received(listed(1, revision=HELD), 0.0)
        lost = subject.lost(Code.INTERNAL, "its message can't be used", 1.0, misread=True)
        told.append((lost.delay, lost.expected))
    assert told == [(0.1, False), (0.2, True), (0.4, True), (0.8, True)]
    assert subject.begun(2.0) is None
    assert ports_of(subject) == [1]


def test_a_balancer_is_trusted_again_after_a_watch_that_lasted() -> None:
    subject = Watch("b:1", FullJitter(0.1, 10, Highest()), 30)
    for now in (0.0, 1.0):
        subject.begun(now)
        subject.received(listed(1, revision=HELD), now)
        subject.lost(Code.INTERNAL, "", now, misread=True)
    subject.begun(2.0)
    subject.received(listed(1, revision=HELD), 2.0)
    lost = subject.lost(Code.UNAVAILABLE, "gone", 60.0)
    assert (lost.delay, lost.expected) == (0.1, False)
    assert subject.begun(61.0) == HELD


def test_a_list_that_could_not_be_used_is_tried_again_when_it_comes_again() -> None:
    subject = watch()
    subject.received(listed(1, revision=HELD), 0.0)
    before = subject.current
    assert subject.received(listed(2), 1.0)
    subject.undo(before)
    assert ports_of(subject) == [1]
    assert subject.received(listed(2), 2.0)


def test_a_source_that_is_polled_in_vain_is_warned_of_once() -> None:
    subject = watch()
    subject.received(listed(1), 0.0)
    losses = [subject.lost(Code.UNAVAILABLE, "no such name", now) for now in (100.0, 200.0, 300.0)]
    assert [lost.expected for lost in losses] == [False, True, True]
