"""Whatever ends a source's task, the service goes on with the lists it has, and runs it again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from lookaside.logging import get_logger
from lookaside.sources import Source, SourceObserver
from lookaside.sources.backoff import Backoff

_INTERNAL = "internal"
_SHORTEST = 1.0
_LONGEST = 30.0
_QUIET = 120.0


class SupervisedSource:
    """A `Source` whose `run` never ends by itself.

    A source retries on its own what can go wrong with what it reads. This is for all else: an error
    that nobody thought of. It is logged once with its traceback, counted by the reason "internal",
    and the source is run again after a pause that grows from a second to half a minute.

    Args:
        source: The source, which can be run again after it has failed.
        observer: Receives failures.
        clock: Seconds of a monotonic clock.
        sleep: Sleeps for some seconds.
        rng: The source of jitter.

    Attributes:
        name: The source's name.
    """

    def __init__(
        self,
        source: Source,
        observer: SourceObserver,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = source.name
        self._source = source
        self._observer = observer
        self._clock = clock
        self._sleep = sleep
        self._backoff = Backoff(_SHORTEST, _LONGEST, _QUIET, rng or random.Random())  # noqa: S311
        self._failed = ""
        self._log = get_logger("sources").bind(source=source.name)

    def __repr__(self) -> str:
        return f"<SupervisedSource {self._source!r}{', failed' if self._failed else ''}>"

    @property
    def reasons(self) -> frozenset[str]:
        """The words of all that can fail."""
        return self._source.reasons | {_INTERNAL}

    @property
    def trouble(self) -> str:
        """Why what it knows can't be confirmed just now, in words; "" where it can."""
        return self._failed or self._source.trouble

    def trouble_in(self, namespace: str) -> str:
        """Return why what it knows of a namespace can't be confirmed just now; "" where it can."""
        return self._failed or self._source.trouble_in(namespace)

    async def prepare(self) -> None:
        """Look whether it can work as it is set up, before anything is served.

        Raises:
            ConfigError: It can not.
        """
        await self._source.prepare()

    async def run(self) -> None:
        """Feed the store until cancelled."""
        told = ""
        while True:
            began = self._clock()
            try:
                await self._source.run()
                error: Exception = RuntimeError("the source's task has ended")
            except Exception as caught:  # noqa: BLE001 (whatever it is, the service goes on)
                error = _cause(caught)
            now = self._clock()
            if now - began > _QUIET:
                told = ""
            text = f"{type(error).__name__}: {error}"
            if text != told:
                told = text
                self._log.error("the source failed; its lists stay served", exc_info=error)
            self._observer.source_error(self.name, _INTERNAL)
            self._failed = text
            await self._sleep(self._backoff.pause(now))
            self._failed = ""


def _cause(error: Exception) -> Exception:
    """Return the error itself where it is the first of several tasks'."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
