"""Runs the fallback of a target until its balancer has given a list, in a task."""

import asyncio
from contextlib import suppress

from client_resolver.aio.poller import Poller

__all__ = ["Fallback"]


class Fallback:
    """Polls the fallback from when it is wanted.

    Args:
        poller: Looks the fallback up.
        after: Seconds after which it is used if `wanted` is not called.
    """

    def __init__(self, poller: Poller, after: float) -> None:
        self._poller = poller
        self._after = after
        self._decided = asyncio.Event()

    async def run(self) -> None:
        """Look from when it is wanted until `over`."""
        # Not `wait_for`: on Python 3.11, it may swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._after):
                await self._decided.wait()
        await self._poller.run()

    def wanted(self) -> None:
        """The balancer can't be reached, or has no list."""
        self._decided.set()

    def over(self) -> None:
        """Have `run` return: there is a list that needs no fallback, or the channel ends."""
        self._poller.stop()
        self._decided.set()
