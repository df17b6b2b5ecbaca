"""Fails a test in which an exception of the client package reaches nobody.

Such are exceptions in callbacks and tasks of an event loop, in threads, in finalisers, and those
that grpc catches and logs. pytest warns of threads and finalisers itself: warnings are errors here.
"""

import asyncio
import gc
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import client_resolver

__all__ = ["no_stray_exceptions", "strays"]

_PACKAGE = str(Path(client_resolver.__file__).parent)


class Strays(logging.Handler):
    """Keeps what went astray, until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an exception of the package's own. What it logs and raised itself, it meant to."""
        error = record.exc_info[1] if record.exc_info else None
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        if not frames or not frames[-1].filename.startswith(_PACKAGE):
            return
        # grpc logs so what iterating over an application's requests has raised.
        told = record.name == "client_resolver" or "iterating requests" in record.getMessage()
        if not (told and str(frames[-1].line).startswith("raise ")):
            self._found.append(_text(f"{record.name} logged: {record.getMessage()}", error))

    def in_loop(self, context: dict[str, Any]) -> None:
        """Keep what a loop's exception handler is called for."""
        self._found.append(_text(str(context), context.get("exception")))

    def take(self) -> list[str]:
        """Return what was found since the last time."""
        found, self._found = self._found, []
        return found


@pytest.fixture(scope="module", autouse=True)
def strays() -> Iterator[Strays]:
    """Finds what goes astray in a module's tests. What only the collector shows is shown here."""
    found = Strays()
    original = asyncio.BaseEventLoop.call_exception_handler

    def call_exception_handler(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
        found.in_loop(context)
        original(loop, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "call_exception_handler", call_exception_handler)
        logging.getLogger().addHandler(found)
        yield found
        gc.collect()
        logging.getLogger().removeHandler(found)
    assert not found.take()


@pytest.fixture(autouse=True)
def no_stray_exceptions(strays: Strays) -> Iterator[None]:
    yield
    assert not strays.take()


def _text(what: str, error: BaseException | None) -> str:
    return what if error is None else f"{what}\n{''.join(traceback.format_exception(error))}"
