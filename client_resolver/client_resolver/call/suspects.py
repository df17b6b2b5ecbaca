"""Attempts that failed as if their server had been gone, and how that is found out.

The rules for what a failure shows are `client_resolver.core.replay`'s.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from client_resolver.call.attempt import Attempt
from client_resolver.core.replay import Evidence, weigh

__all__ = ["SECOND_LOOKS", "Suspects", "evidence_of"]

H = TypeVar("H")
C = TypeVar("C")

SECOND_LOOKS = (0.001, 0.004, 0.015)
"""Seconds between looks at a connection that should turn out to be gone: a server's GOAWAY may come
after the RPCs that it turned away."""


class Suspects(Generic[H, C]):
    """Attempts that failed as if their server had been gone: their connections tell whether it was.

    Attributes:
        to_look: Those whose connections are to be looked at now.
    """

    __slots__ = ("_pauses", "_times", "to_look")

    def __init__(self) -> None:
        self.to_look: list[Attempt[H, C]] = []
        self._pauses: dict[Attempt[H, C], Iterator[float]] = {}
        self._times: dict[Attempt[H, C], float] = {}

    def __bool__(self) -> bool:
        return bool(self._pauses)

    @property
    def wake_at(self) -> float | None:
        """When the next connection is to be looked at again. None: there is none."""
        return min(self._times.values(), default=None)

    def add(self, attempt: Attempt[H, C]) -> None:
        """An attempt has failed in such a way."""
        # What never left the client shows at once that the connection is gone, or not at all.
        turned_away = evidence_of(attempt) is Evidence.TURNED_AWAY
        self._pauses[attempt] = iter(SECOND_LOOKS if turned_away else ())
        self.to_look.append(attempt)

    def wake(self, now: float) -> None:
        """A time has come, perhaps that of `wake_at`."""
        for attempt in [one for one, at in self._times.items() if at <= now]:
            del self._times[attempt]
            self.to_look.append(attempt)

    def seen(self, attempt: Attempt[H, C], ready: bool, now: float) -> bool | None:
        """Return whether no server took the attempt up. None: that is open, or it is no suspect."""
        pauses = self._pauses.get(attempt)
        if pauses is None:
            return None
        pause = next(pauses, None) if ready else None
        if pause is not None:
            self._times[attempt] = now + pause
            return None
        del self._pauses[attempt]
        return not ready

    def clear(self) -> None:
        """Nothing follows any more, whatever the connections show."""
        self.to_look.clear()
        self._pauses.clear()
        self._times.clear()


def evidence_of(attempt: Attempt[H, C]) -> Evidence:
    """Say what a failed attempt is evidence of. It is none while it runs."""
    status, backend = attempt.status, attempt.backend
    if status is None:
        return Evidence.NONE
    return weigh(
        status.code,
        status.details,
        metadata=bool(status.initial or status.trailing),
        address=backend.endpoint.address,
    )
