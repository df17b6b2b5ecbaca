"""Finds out why connections fail: gRPC reports that only in the details of an RPC."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

from client_resolver.core.backend import Backend, Explain
from client_resolver.core.replay import is_local

__all__ = ["EXPLAIN_METHOD", "EXPLAIN_TIMEOUT", "ConnectionErrors", "cause"]

H = TypeVar("H")

EXPLAIN_METHOD: Final = "/lookaside/WhyNotConnected"
"""The method of the RPC that is made to fail. No backend ever receives it."""
EXPLAIN_TIMEOUT: Final = 1.0
"""Seconds that this RPC gets. gRPC ends it at once, unless the connection is being tried again."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 64.0
"""Seconds until the reason is asked for again, while a connection goes on failing: it may have
changed. Each pause is twice the one before."""
_LEAD = "failed to connect to all addresses; last error: "
_LONGEST: Final = 500
"""Characters of a reason that are kept."""


def cause(code: str, details: str) -> str:
    """Return the reason in the status of an RPC that was to fail for want of a connection.

    Args:
        code: The name of its status code.
        details: Its text.

    Returns:
        At most 500 characters. Empty: there was a connection by then, or the time ran out.
    """
    if code != "UNAVAILABLE" or is_local(code, details):
        return ""
    text = details.removeprefix(_LEAD)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@dataclass(frozen=True, slots=True)
class _Again:
    at: float
    pause: float


class ConnectionErrors(Generic[H]):
    """Has the shell find out why connections fail, at once and, less and less often, again.

    A connection counts as failed only once the reason is known: the first RPC that fails for it
    can tell the reason.

    Args:
        now: The clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._again: dict[Backend[H], _Again] = {}
        self._due: list[tuple[float, int, Backend[H]]] = []
        self._order = count()

    @property
    def wake_at(self) -> float | None:
        """When `due` has work to do. None: not at all."""
        while self._due:
            at, _, backend = self._due[0]
            again = self._again.get(backend)
            if again is not None and again.at == at and backend.opened:
                return at
            heappop(self._due)
            if not backend.opened:
                self.forget(backend)
        return None

    def failed(self, backend: Backend[H]) -> list[Explain[H]]:
        """A connection has failed. Return the question why, unless it is being asked already."""
        if backend.explaining:
            return []
        backend.explaining = True
        return [Explain(backend)]

    def due(self, now: float) -> list[Explain[H]]:
        """Return the questions that are to be asked again now."""
        actions: list[Explain[H]] = []
        while (at := self.wake_at) is not None and at <= now:
            actions += self.failed(heappop(self._due)[2])
        return actions

    def answered(self, backend: Backend[H]) -> bool:
        """A question was answered. Return whether the answer is still wanted."""
        if not backend.explaining:
            return False
        backend.explaining = False
        last = self._again.get(backend)
        pause = _FIRST_PAUSE if last is None else min(last.pause * 2, _LONGEST_PAUSE)
        at = self._now() + pause
        self._again[backend] = _Again(at, pause)
        heappush(self._due, (at, next(self._order), backend))
        return True

    def forget(self, backend: Backend[H]) -> None:
        """The connection isn't failing any more, or there is none."""
        backend.explaining = False
        self._again.pop(backend, None)
