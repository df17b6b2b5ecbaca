"""Sources that raise what nobody thought of."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from lookaside.errors import ConfigError
from lookaside.sources.supervision import SupervisedSource

SECONDS = 20.0


class Failing:
    """A source that ends as its script says, after so many seconds each, and then runs."""

    name = "some"
    trouble = ""
    reasons = frozenset({"broken"})

    def __init__(self, *ends: tuple[float, BaseException | None]) -> None:
        self._ends = list(ends)
        self.runs = 0
        self.now = 0.0
        self.pauses: list[float] = []
        self.errors: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.running = asyncio.Event()
        self.supervised = SupervisedSource(
            self, self, clock=lambda: self.now, sleep=self.sleep, rng=random.Random(3)
        )

    def trouble_in(self, namespace: str) -> str:
        return f"{self.trouble} of {namespace}"

    async def prepare(self) -> None:
        raise ConfigError("not so")

    async def run(self) -> None:
        self.runs += 1
        self.troubles.append(self.supervised.trouble)
        if not self._ends:
            self.running.set()
            await asyncio.Event().wait()
        lived, error = self._ends.pop(0)
        self.now += lived
        if error is not None:
            raise error

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.troubles.append(self.supervised.trouble)
        self.now += seconds

    def source_contact(self, source: str) -> None:
        raise AssertionError

    def source_error(self, source: str, reason: str) -> None:
        self.errors.append((source, reason))

    def refused(self, kind: str, annotation: str) -> None:
        raise AssertionError


async def played(source: Failing) -> Sequence[dict[str, object]]:
    """Run a source until its script has ended, and return what was logged."""
    with capture_logs() as logs:
        task = asyncio.create_task(source.supervised.run())
        try:
            async with asyncio.timeout(SECONDS):
                await source.running.wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert task.cancelled()
    return [dict(entry) for entry in logs]


WHATEVER = [
    RecursionError("too deep"), MemoryError(), ValueError("4300 digits"), OverflowError(),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), KeyError("key"),
    ConfigError("the file is gone"), AssertionError(), OSError(28, "no space"), None,
    ExceptionGroup("tasks", [ExceptionGroup("more tasks", [RecursionError()])]),
]  # fmt: skip


@pytest.mark.parametrize("error", WHATEVER, ids=repr)
async def test_whatever_a_source_raises_it_is_run_again(error: Exception | None) -> None:
    source = Failing((0.0, error))
    logs = await played(source)
    assert source.runs == 2
    assert source.errors == [("some", "internal")]
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("error", "the source failed; its lists stay served")
    ]


async def test_pauses_grow_and_the_same_failure_is_logged_once() -> None:
    source = Failing(*[(0.1, ValueError("bad"))] * 12, (0.1, KeyError("worse")))
    logs = await played(source)
    assert len(source.errors) == 13
    assert 1.0 <= source.pauses[0] <= 2.0
    assert all(1.0 <= pause <= 30.0 for pause in source.pauses)
    assert all(pause >= 15.0 for pause in source.pauses[5:])
    assert [repr(entry["exc_info"]) for entry in logs] == ["ValueError('bad')", "KeyError('worse')"]


async def test_after_a_long_good_time_the_same_failure_is_news_and_the_pause_short() -> None:
    source = Failing(*[(0.1, ValueError("bad"))] * 8, (500.0, ValueError("bad")))
    logs = await played(source)
    assert len(logs) == 2
    assert source.pauses[-1] <= 2.0


async def test_its_trouble_is_told_while_it_pauses() -> None:
    source = Failing((0.0, ValueError("bad")))
    await played(source)
    assert source.troubles == ["", "ValueError: bad", ""]


def test_its_reasons_are_the_sources_and_its_own() -> None:
    assert Failing().supervised.reasons == {"broken", "internal"}


async def test_what_keeps_it_from_starting_is_raised() -> None:
    with pytest.raises(ConfigError, match="not so"):
        await Failing().supervised.prepare()
