"""The form of log lines."""

import io
import logging as standard
import warnings
from collections.abc import Iterator

import orjson
import pytest
import structlog

from lookaside import logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = standard.getLogger()
    handlers, level = root.handlers, root.level
    yield
    standard.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    secret = "hunter2"
    raise ValueError(f"{len(secret)} characters")


def test_a_line_is_a_json_document_with_time_level_and_logger() -> None:
    stream = io.StringIO()
    logging.configure("info", "json", stream)

    logging.get_logger("sources.file").info("file read", services=3, path="a")

    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "file read",
        "level": "info",
        "logger": "sources.file",
        "services": 3,
        "path": "a",
    }


@pytest.mark.parametrize("value", ["\ud800", 10**5000, {"\udfff": 2**70}], ids=type)
def test_whatever_a_line_is_to_say_it_is_a_line_and_raises_nothing(value: object) -> None:
    stream = io.StringIO()
    logging.configure("info", "json", stream)

    logging.get_logger("some").warning("said", value=value)

    [line] = lines(stream)
    assert (line["event"], line["level"]) == ("said", "warning")
    assert line["value"]


def test_json_goes_to_a_real_stream_as_bytes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw)
    logging.configure("info", "json", stream)

    logging.get_logger("a").info("ä", value={1: object})

    assert orjson.loads(raw.getvalue())["event"] == "ä"


def test_a_terminal_gets_lines_for_people_and_others_get_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()

    for stream in (terminal, pipe):
        logging.configure("info", "auto", stream)
        logging.get_logger("a").info("file read")

    assert "file read" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert lines(pipe)[0]["event"] == "file read"


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    logging.configure("warning", "json", stream)
    log = logging.get_logger("a")

    log.info("no")
    log.warning("yes")

    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_libraries_come_out_in_the_same_form_from_warnings_up(level: str) -> None:
    stream = io.StringIO()
    logging.configure(level, "json", stream)

    standard.getLogger("aiohttp.access").info("no")
    standard.getLogger("asyncio").warning("slow by %d ms", 7)

    [line] = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("slow by 7 ms", "warning", "asyncio")


def test_warnings_are_logged() -> None:
    stream = io.StringIO()
    logging.configure("info", "json", stream)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        standard.captureWarnings(capture=False)
        standard.captureWarnings(capture=True)
        warnings.warn("careful", stacklevel=1)

    [line] = lines(stream)
    assert "careful" in line["event"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_shown_without_the_values_of_variables(form: str) -> None:
    stream = io.StringIO()
    logging.configure("info", form, stream)

    try:
        fail()
    except ValueError:
        logging.get_logger("a").exception("failed")
        standard.getLogger("asyncio").exception("failed too")

    text = stream.getvalue()
    assert text.count("ValueError: 7 characters") == 2
    assert '"hunter2' not in text.replace('secret = "hunter2"', "")


def test_secrets_are_hidden() -> None:
    stream = io.StringIO()
    logging.configure("info", "json", stream)

    logging.get_logger("a").info("sent", token="t0p", header="Authorization: Bearer abc.def")
    standard.getLogger("kubernetes").warning("headers {'Authorization': 'Bearer abc.def'}")

    assert "t0p" not in stream.getvalue()
    assert "abc.def" not in stream.getvalue()
    assert lines(stream)[0]["token"] == "(hidden)"


def test_a_kind_of_line_may_be_logged_once_a_minute_and_is_forgotten_after_it() -> None:
    now = 0.0
    lines = logging.OncePerMinute(lambda: now)
    assert [lines.allows(kind) for kind in ("a", "a", "b")] == [True, False, True]
    now = 59.9
    assert not lines.allows("a")
    now = 60.0
    assert [lines.allows(kind) for kind in ("a", "b", "a")] == [True, True, False]
