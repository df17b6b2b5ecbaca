"""The RPCs of a channel that wait for a backend, and the waiters for another published state."""

import asyncio
from typing import Protocol

__all__ = ["Pending", "WaitingCalls"]


class Pending(Protocol):
    """An RPC that waits for a backend, or that has yet to be looked at again."""

    def advance(self) -> None:
        """Look whether there is a backend now."""

    def shut(self) -> None:
        """The channel is closed."""


class WaitingCalls:
    """Keeps what waits. On the event loop alone."""

    def __init__(self) -> None:
        self._calls: dict[Pending, None] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._advancing: asyncio.Handle | None = None
        self._all_placed: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Pending) -> None:
        """Have an RPC wait."""
        self._calls[call] = None

    def remove(self, call: Pending) -> None:
        """An RPC doesn't wait any more: it has a backend, or has ended."""
        self._calls.pop(call, None)
        placed = self._all_placed
        if placed is not None and not self._calls and not placed.done():
            placed.set_result(None)

    async def changed(self) -> None:
        """Wait for another published state."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def wake(self) -> None:
        """Another state was published: have all look at it, the RPCs in a turn of the loop."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._calls and self._advancing is None:
            self._advancing = asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        self._advancing = None
        for call in list(self._calls):
            call.advance()

    async def all_placed(self, seconds: float) -> None:
        """Wait until no RPC waits, for so long at most, in seconds."""
        if self._all_placed is None:
            self._all_placed = asyncio.get_running_loop().create_future()
        await asyncio.wait((self._all_placed,), timeout=seconds)

    def end(self) -> None:
        """The channel is closed: end all."""
        self.wake()
        if self._advancing is not None:
            self._advancing.cancel()
        for call in list(self._calls):
            call.shut()

    def clear(self) -> None:
        """Forget all: their event loop is closed."""
        self._calls.clear()
        self._waiters.clear()
        self._advancing = self._all_placed = None
