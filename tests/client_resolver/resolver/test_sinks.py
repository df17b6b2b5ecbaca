import logging
from dataclasses import replace

import pytest

from client_resolver.core.address import parse_address
from client_resolver.core.delta import Delta, UnknownBase
from client_resolver.core.model import Code, Endpoint, ListState, Revision, ServerList, SetAside
from client_resolver.core.watch import Lost
from client_resolver.resolver.sinks import FallbackSink, ListTap, PollSink

LISTED = ServerList((Endpoint(parse_address("10.0.0.1:80")),))
KNOWN = Revision("a", 1, "e")
TARGET = "lookaside://lb:1/greeter"


class ListSink:
    """Holds the list it got last, and says what the test wants of a loss."""

    def __init__(self, balancers: int = 1) -> None:
        self.balancers = balancers
        self.current: ServerList | None = None
        self.losses: list[tuple[Code, str]] = []
        self.misfit = False
        self.fallback_failures: list[str] = []

    def begun(self) -> Revision | None:
        return KNOWN

    def received(self, message: ServerList | Delta) -> ServerList | None:
        if self.misfit:
            raise UnknownBase("b")
        assert isinstance(message, ServerList)
        self.current = message
        return message

    def lost(self, code: Code, details: str, *, misread: bool = False) -> Lost:
        self.losses.append((code, details))
        asked = len(self.losses)
        return Lost(0.5, f"lost: {details}", asked > 1, all_asked=asked >= self.balancers)

    def fallback_failed(self, why: str) -> None:
        self.fallback_failures.append(why)


class Aside:
    """A cache and a fallback that note what they are told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def keep(self, current: ServerList | None) -> None:
        self.told.append(current)

    def wanted(self) -> None:
        self.told.append("wanted")

    def over(self) -> None:
        self.told.append("over")


def test_a_flow_says_the_same_through_a_tap() -> None:
    sink = ListSink()
    tap = ListTap(sink, None, None)
    assert tap.begun() == KNOWN
    assert tap.received(LISTED) is LISTED
    assert tap.lost(Code.UNAVAILABLE, "gone").delay == 0.5
    assert sink.losses == [(Code.UNAVAILABLE, "gone")]


def test_every_list_that_holds_is_kept() -> None:
    aside = Aside()
    tap = ListTap(ListSink(), aside, None)
    tap.received(LISTED)
    tap.received(replace(LISTED, endpoints=()))
    assert aside.told == [LISTED, replace(LISTED, endpoints=())]


def test_a_delta_that_does_not_fit_is_kept_nowhere() -> None:
    sink, aside = ListSink(), Aside()
    sink.misfit = True
    with pytest.raises(UnknownBase):
        ListTap(sink, aside, aside).received(LISTED)
    assert aside.told == []


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (LISTED, ["over"]),
        (replace(LISTED, endpoints=(), state=ListState.ABSENT), ["over"]),
        (replace(LISTED, endpoints=(), state=ListState.STALE), ["wanted"]),
        (replace(LISTED, provisional=True), []),
    ],
)
def test_a_list_that_needs_no_fallback_ends_it_and_one_of_no_use_begins_it(
    listed: ServerList, told: list[object]
) -> None:
    aside = Aside()
    ListTap(ListSink(), None, aside).received(listed)
    assert aside.told == told


def test_a_fallback_is_wanted_when_every_balancer_has_been_asked() -> None:
    aside = Aside()
    tap = ListTap(ListSink(balancers=3), None, aside)
    tap.lost(Code.UNAVAILABLE, "one")
    tap.lost(Code.UNAVAILABLE, "two")
    assert aside.told == []
    tap.lost(Code.UNAVAILABLE, "three")
    assert aside.told == ["wanted"]


def test_a_lookup_that_fails_is_a_loss_and_a_warning_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = ListSink()
    answers = PollSink(TARGET, sink)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        answers.failed("no such name")
        answers.failed("no such name")
        answers.found(LISTED)
    assert sink.losses == [(Code.UNAVAILABLE, "no such name")] * 2
    assert sink.current is LISTED
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["lookaside://lb:1/greeter: lost: no such name"]


def test_what_a_fallback_finds_is_provisional_and_told_when_it_begins_or_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = ListSink()
    answers = FallbackSink(TARGET, "dns:///greeter:80", sink)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        answers.found(LISTED)
        answers.found(LISTED)
        answers.failed("no such name")
        answers.failed("no such name")
    assert sink.current == replace(LISTED, provisional=True)
    assert sink.losses == []
    assert sink.fallback_failures == ["no such name"] * 2
    start = "lookaside://lb:1/greeter: the fallback dns:///greeter:80 "
    assert [record.getMessage() for record in caplog.records] == [
        f"{start}is used until a balancer gives a list: 1 backends",
        f"{start}can't be used: no such name",
    ]


def test_what_stays_set_aside_is_told_once_and_again_when_it_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = PollSink(TARGET, ListSink())
    bad = replace(LISTED, set_aside=(SetAside("x", "'x' is bad"),))
    worse = replace(LISTED, set_aside=(SetAside("x", "'x' is bad"), SetAside("y", "'y' is bad")))
    with caplog.at_level(logging.WARNING, "client_resolver"):
        for answer in (bad, bad, worse, LISTED, bad):
            answers.found(answer)
    told = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert told == ["'x' is bad", "'y' is bad", "'x' is bad"]
