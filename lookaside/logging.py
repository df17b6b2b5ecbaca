"""Logs to stderr: JSON, a line each, in a container; for people on a terminal.

Libraries log through the standard library; that has the same form, from warnings up.
"""

import logging
import logging.config
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_MINUTE = 60.0
_SECRET = re.compile(r"token|password|secret|authorization|api_?key", re.IGNORECASE)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s'\"]+")


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines say where they are from.

    Args:
        name: The subject, such as ``sources.file``.
    """
    return cast("FilteringBoundLogger", structlog.get_logger(logger_name=name))


class OncePerMinute:
    """Limits log lines that others can cause at will: one of each kind a minute.

    It keeps the kinds of the last minute alone.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: OrderedDict[Hashable, float] = OrderedDict()

    def allows(self, kind: Hashable) -> bool:
        """Return whether a line of this kind may be logged now. If so, it counts as logged."""
        now = self._clock()
        while self._logged and next(iter(self._logged.values())) <= now - _MINUTE:
            self._logged.popitem(last=False)
        if kind in self._logged:
            return False
        self._logged[kind] = now
        return True


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Set up the logs of this process; may be called again.

    Args:
        level: The least level that is logged: debug, info, warning or error.
        form: ``json``, ``console``, or ``auto`` for console on a terminal and json elsewhere.
        stream: Where to; stderr by default.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _rename,
        _hide_secrets,
    ]
    renderer: Processor
    factory: Callable[..., WrappedLogger]
    binary = getattr(stream, "buffer", None)
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        factory = structlog.PrintLoggerFactory(stream)
    elif binary is not None:
        renderer = structlog.processors.JSONRenderer(serializer=_dump)
        factory = structlog.BytesLoggerFactory(binary)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_dump_text)
        factory = structlog.PrintLoggerFactory(stream)
    native = [*shared, renderer] if console else [*shared, _format_exception, renderer]
    structlog.configure(
        processors=native,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    text_renderer = renderer if console else structlog.processors.JSONRenderer(_dump_text)
    _route_standard_library(stream, shared, text_renderer, threshold, console=console)


def _route_standard_library(
    stream: TextIO,
    shared: list[Processor],
    renderer: Processor,
    threshold: int,
    *,
    console: bool,
) -> None:
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not console:
        last.append(_format_exception)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[*last, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(capture=True)


def _rename(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # structlog has an argument `logger` of its own where initial values are given.
    if "logger_name" in event:
        event["logger"] = event.pop("logger_name")
    return event


def _format_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    # Without the values of variables, which may be secrets.
    return _hide_secrets(
        logger, method, structlog.processors.format_exc_info(logger, method, event)
    )


def _hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = "(hidden)"
        elif isinstance(value, str) and _BEARER.search(value):
            event[key] = _BEARER.sub(r"\1(hidden)", value)
    return event


def _dump(event: EventDict, **_options: object) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a text that is not Unicode, a number of more than 64 bits, deep nesting
        return orjson.dumps({key: _plain(value) for key, value in event.items()})


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value.encode("ascii", "backslashreplace").decode()
    try:
        return ascii(value)
    except Exception as error:  # noqa: BLE001 (a log line is never what fails)
        return f"a {type(value).__name__} that can't be written: {error}"


def _dump_text(event: EventDict, **options: object) -> str:
    return _dump(event, **options).decode()
