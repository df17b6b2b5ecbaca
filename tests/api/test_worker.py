"""How the loop's work is done in turns, on a clock of its own."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from lookaside.api.worker import LoopWorker, watch_lag
from lookaside.registry.steps import WAKES, Steps


class Clock:
    """Moves as far as each step of `work` takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Turns:
    """Counts what is done between two turns of the loop."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.longest = 0.0
        self.most_woken = 0
        self.done: list[str] = []
        self._began = 0.0
        self._woken = 0

    def work(self, name: str, steps: int, *, seconds: float = 0.001, wakes: int = 0) -> Steps[None]:
        for _ in range(steps):
            self.clock.now += seconds
            self._woken += wakes
            self.longest = max(self.longest, self.clock.now - self._began)
            self.most_woken = max(self.most_woken, self._woken)
            self.done.append(name)
            yield wakes

    async def watch(self) -> None:
        """Note each turn of the loop, until cancelled."""
        while True:
            self._began, self._woken = self.clock.now, 0
            await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_no_turn_takes_longer_than_10_ms_however_much_there_is_to_do() -> None:
    clock = Clock()
    worker, turns = LoopWorker(clock=clock), Turns(clock)
    watching = asyncio.create_task(turns.watch())
    for key in range(20):
        worker.ask(key, partial(turns.work, str(key), 50))
    await until(lambda: len(turns.done) == 1_000)
    watching.cancel()
    assert turns.longest < 0.010


async def test_no_more_watchers_are_woken_between_two_turns_than_can_write_in_one() -> None:
    clock = Clock()
    worker, turns = LoopWorker(clock=clock), Turns(clock)
    watching = asyncio.create_task(turns.watch())
    for key in range(4):
        worker.ask(key, partial(turns.work, str(key), 20, seconds=0, wakes=WAKES))
    await until(lambda: len(turns.done) == 80)
    watching.cancel()
    assert turns.most_woken == WAKES


async def test_jobs_take_turns_so_that_a_short_one_does_not_wait_for_a_long_one() -> None:
    clock = Clock()
    worker, turns = LoopWorker(clock=clock), Turns(clock)
    worker.ask("long", lambda: turns.work("long", 1_000))
    worker.ask("short", lambda: turns.work("short", 3))
    await until(lambda: turns.done.count("short") == 3)
    assert turns.done.count("long") < 10


async def test_a_key_is_asked_again_once_however_often_and_after_a_pause_of_its_own_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[tuple[float, Callable[[], object]]] = []

    def call_later(seconds: float, call: Callable[..., object], *args: object) -> None:
        pauses.append((seconds, partial(call, *args)))

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    clock = Clock()
    worker, turns = LoopWorker(clock=clock), Turns(clock)
    worker.ask("large", lambda: turns.work("large", 10, seconds=0.01))
    for _ in range(5):
        worker.ask("large", lambda: turns.work("large", 10, seconds=0.01))
    await until(lambda: bool(pauses))
    worker.ask("small", lambda: turns.work("small", 1))
    await until(lambda: pauses[1:] != [])
    assert turns.done == ["large"] * 10 + ["small"]
    # Three times the 0.1 s and the 0.001 s that they took.
    assert [seconds for seconds, _ in pauses] == pytest.approx([0.3, 0.003])
    for _, go_on in pauses:
        go_on()
    await until(lambda: len(pauses) == 3)
    pauses[2][1]()
    assert turns.done == ["large"] * 10 + ["small"] + ["large"] * 10
    assert repr(worker) == "<LoopWorker 0 jobs, 0 keys busy>"


async def test_a_request_gets_what_its_steps_return_or_raise() -> None:
    def work(steps: int, fails: bool) -> Steps[int]:
        for _ in range(steps):
            yield 0
        if fails:
            raise KeyError("no")
        return steps

    worker = LoopWorker()
    assert [await worker.run(work(steps, fails=False)) for steps in (0, 1, 5)] == [0, 1, 5]
    for steps in (0, 1, 5):
        with pytest.raises(KeyError):
            await worker.run(work(steps, fails=True))


async def test_the_work_of_a_request_whose_caller_has_gone_ends() -> None:
    ended = asyncio.Event()

    def work() -> Steps[None]:
        try:
            while True:
                yield 0
        finally:
            ended.set()

    worker = LoopWorker()
    task = asyncio.create_task(worker.run(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait_for(ended.wait(), 20)
    assert repr(worker) == "<LoopWorker 0 jobs, 0 keys busy>"


async def test_what_one_key_raises_is_logged_and_the_others_go_on() -> None:
    clock = Clock()
    worker, turns = LoopWorker(clock=clock), Turns(clock)

    def bad() -> Steps[None]:
        yield 0
        raise KeyError("no")

    worker.ask("bad", bad)
    worker.ask("good", lambda: turns.work("good", 2))
    await until(lambda: turns.done == ["good", "good"])
    worker.ask("bad", lambda: turns.work("bad", 1))
    await until(lambda: "bad" in turns.done)


async def test_how_late_the_loop_is_is_told_again_and_again() -> None:
    clock = Clock()
    seen: list[float] = []
    told = asyncio.Event()

    def observe(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == 2:
            told.set()
        clock.now += 0.25

    task = asyncio.create_task(watch_lag(observe, interval=0.001, clock=clock))
    await asyncio.sleep(0)
    clock.now += 0.5
    await asyncio.wait_for(told.wait(), 20)
    task.cancel()
    # The clock stands still while it sleeps, but for what is added here.
    assert seen[0] == pytest.approx(0.499)
    assert seen[1] == 0
