import logging

import pytest

from client_resolver.core.delta import Delta
from client_resolver.core.model import ServerList, SetAside
from client_resolver.core.watch import Lost
from client_resolver.telemetry.log import ChannelLog, reason

TARGET = "static:///10.0.0.1:80"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no route"), "OSError: no route"),
        (KeyError("web"), "KeyError: 'web'"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_is_named_by_its_kind_and_its_text(error: Exception, text: str) -> None:
    assert reason(error) == text


@pytest.mark.parametrize(("expected", "level"), [(True, logging.DEBUG), (False, logging.WARNING)])
def test_a_loss_that_was_to_be_expected_is_no_warning(
    expected: bool, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "client_resolver"):
        ChannelLog(TARGET).lost(Lost(1.0, "gone", expected))
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (level, "static:///10.0.0.1:80: gone")


def test_what_a_delta_sets_aside_is_told_as_well(caplog: pytest.LogCaptureFixture) -> None:
    changed = ServerList((), set_aside=(SetAside("x", "'x' is not HOST:PORT"),))
    with caplog.at_level(logging.WARNING, "client_resolver"):
        ChannelLog(TARGET).set_aside(Delta("a", changed))
    assert "set aside: 'x' is not HOST:PORT" in caplog.text


def test_a_fallback_is_named_with_the_target(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "client_resolver"):
        ChannelLog(TARGET).fallback("dns:///greeter:80", "is used")
    assert caplog.messages == [f"{TARGET}: the fallback dns:///greeter:80 is used"]


def test_of_many_servers_set_aside_some_are_told_and_how_many_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    aside = tuple(SetAside(str(number), f"'{number}' is bad") for number in range(50_000))
    log = ChannelLog(TARGET)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        for _ in range(3):
            log.set_aside(ServerList((), set_aside=aside))
    assert len(caplog.records) == 21
    assert caplog.records[-1].getMessage().endswith("set aside: 49980 more servers of the list")


def test_a_text_from_outside_is_shown_to_a_bound() -> None:
    assert len(reason(ValueError("x" * 10_000_000))) < 600
