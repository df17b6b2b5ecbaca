"""Does what takes long in turns, so that the event loop is never kept from the rest for long."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, cast

from lookaside.logging import get_logger
from lookaside.registry.steps import WAKES, Steps

T = TypeVar("T")

TURN = 0.004
"""Seconds that steps are done for before the loop goes on with something else."""

_PACE = 3.0
_WAKE_COST = 40e-6
_LEAST_PAUSE = 0.002

_log = get_logger("worker")


class _Job(Generic[T]):
    """Work that has begun.

    Attributes:
        steps: What is left of it.
        key: Whose it is; None for that of a request.
        done: What to tell its outcome to.
        pace: How many times as long its key rests.
        cost: Seconds that it has taken so far, its watchers' writes among them.
    """

    __slots__ = ("cost", "done", "key", "pace", "steps")

    def __init__(
        self,
        steps: Steps[T],
        key: Hashable = None,
        done: asyncio.Future[T] | None = None,
        pace: float = 0.0,
    ) -> None:
        self.steps = steps
        self.key = key
        self.done = done
        self.pace = pace
        self.cost = 0.0


class LoopWorker:
    """Does steps on the event loop: one of each job in turn, for `TURN` seconds at a time.

    After the work of a key has taken some time, the key rests for `_PACE` times as long. A large
    service that changes all the time so delays itself, and leaves the others their share.

    A `lookaside.registry.steps.Worker`.

    Args:
        clock: Seconds of a monotonic clock.
        turn: Seconds of a turn.
        tidy: Called after each turn.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        turn: float = TURN,
        tidy: Callable[[], object] | None = None,
    ) -> None:
        self._clock = clock
        self._tidy = tidy
        self._turn = turn
        self._jobs: deque[_Job[Any]] = deque()
        # By key: what begins its next work, and its pace. A key in here is at work, or pauses.
        self._busy: dict[Hashable, tuple[Callable[[], Steps[None]], float] | None] = {}
        self._driver: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<LoopWorker {len(self._jobs)} jobs, {len(self._busy)} keys busy>"

    def ask(self, key: Hashable, make: Callable[[], Steps[None]], *, rests: bool = True) -> None:
        """Have work done: now, or again once that of the same key is done and has rested."""
        pace = _PACE if rests else 0.0
        if key in self._busy:
            self._busy[key] = make, pace
        else:
            self._begin(key, make, pace)

    async def run(self, steps: Steps[T]) -> T:
        """Return what a request's work returns.

        Raises:
            Exception: What the work raises.
        """
        try:
            next(steps)
        except StopIteration as end:
            # All was at hand, as it is for most requests.
            return cast("T", end.value)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Job(steps, done=done))
        return await done

    def _begin(self, key: Hashable, make: Callable[[], Steps[None]], pace: float) -> None:
        self._busy[key] = None
        self._put(_Job(make(), key, pace=pace))

    def _put(self, job: _Job[Any]) -> None:
        self._jobs.append(job)
        if self._driver is None:
            self._driver = asyncio.get_running_loop().create_task(self._drive(), name="worker")

    async def _drive(self) -> None:
        try:
            while self._jobs:
                self._take_turn()
                if self._tidy is not None:
                    self._tidy()
                await asyncio.sleep(0)
        finally:
            self._driver = None

    def _take_turn(self) -> None:
        now = self._clock()
        end, woken = now + self._turn, 0
        while self._jobs and now < end and woken < WAKES:
            job = self._jobs.popleft()
            if job.done is not None and job.done.done():
                # Who asked has gone.
                job.steps.close()
                continue
            began, woke = now, self._step(job)
            now = self._clock()
            job.cost += now - began
            if woke is None:
                self._end(job)
            else:
                woken += woke
                job.cost += woke * _WAKE_COST
                self._jobs.append(job)

    def _step(self, job: _Job[Any]) -> int | None:
        """Do one step; return how many watchers it has woken, None if it was the last."""
        try:
            return next(job.steps)
        except StopIteration as end:
            if job.done is not None:
                job.done.set_result(end.value)
        except Exception as error:  # noqa: BLE001 (told to who asked, or logged)
            if job.done is not None:
                job.done.set_exception(error)
            else:
                _log.exception("work that takes long has failed", key=str(job.key))
        return None

    def _end(self, job: _Job[Any]) -> None:
        if job.key is None:
            return
        pause = job.cost * job.pace
        if pause < _LEAST_PAUSE:
            self._rested(job.key)
        else:
            asyncio.get_running_loop().call_later(pause, self._rested, job.key)

    def _rested(self, key: Hashable) -> None:
        following = self._busy.pop(key)
        if following is not None:
            self._begin(key, *following)


async def watch_lag(
    observe: Callable[[float], None],
    *,
    interval: float = 0.1,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Tell how late the event loop is, again and again, until cancelled.

    Args:
        observe: Called with the lateness of a timer, in seconds.
        interval: Seconds from one time to the next.
        clock: Seconds of a monotonic clock.
    """
    while True:
        due = clock() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, clock() - due))
