"""What a reflector does after each outcome. Pure: no clock, no sockets.

The rules are those of client-go's tools/cache/reflector.go, with a bound on how often it relists.
"""

import enum
from collections import deque

from msgspec import Struct

from lookaside.sources.kubernetes.errors import (
    ApiStatus,
    Doubtful,
    Garbled,
    KubernetesError,
    Oversized,
    Rewound,
    Silent,
)

RETRY_AFTER_CAP = 30.0
SHORT_WATCH = 5.0
FRUITLESS_WATCHES = 2


class Phase(enum.Enum):
    """What the reflector was at."""

    LIST = "list"
    WATCH = "watch"


class Verdict(Struct, frozen=True, gc=False):
    """What comes next.

    Attributes:
        relist: Forget the position and list; else go on with the same phase.
        charged: The relist counts against the budget.
        pause: Back off first.
        at_least: The shortest pause, in seconds.
    """

    relist: bool
    charged: bool = False
    pause: bool = True
    at_least: float = 0.0


_AGAIN = Verdict(relist=False)
_AT_ONCE = Verdict(relist=False, pause=False)
_RELIST = Verdict(relist=True, charged=True)


def judge(
    error: KubernetesError | None, phase: Phase, *, lived: float = 0.0, fruitless: int = 0
) -> Verdict:
    """Say what to do after a list or watch has ended.

    Args:
        error: Why it ended; None: the server closed a watch in good order.
        phase: What ended.
        lived: How long the watch was open, in seconds.
        fruitless: How many watches in a row, this one included, have failed with no event at all.
    """
    if error is None:
        return _AT_ONCE if lived >= SHORT_WATCH else _AGAIN
    if isinstance(error, Doubtful):
        return Verdict(relist=True)
    if isinstance(error, ApiStatus) and error.loses_position:
        return _RELIST
    if phase is Phase.WATCH:
        refused = isinstance(error, ApiStatus) and error.code in (400, 422)
        if refused or isinstance(error, Rewound | Oversized) or fruitless >= FRUITLESS_WATCHES:
            return _RELIST
        if isinstance(error, Silent):
            return _AT_ONCE
    return _again(error)


def _again(error: KubernetesError) -> Verdict:
    if isinstance(error, ApiStatus) and error.retry_after:
        return Verdict(relist=False, at_least=min(error.retry_after, RETRY_AFTER_CAP))
    return _AGAIN


def is_fruitless(error: KubernetesError | None) -> bool:
    """Say whether a watch that ended so, with no event, casts doubt on its position.

    A position that is ahead of a restored etcd gives a watch that is accepted and then silent; only
    a list tells it from a quiet cluster.
    """
    match error:
        case ApiStatus(code=401 | 403 | 429):
            return False
        case ApiStatus() | Silent() | Garbled():
            return True
    return False


class RelistBudget:
    """At most so many relists in any such span of time.

    Args:
        relists: How many.
        span: Within how many seconds.
    """

    def __init__(self, relists: int, span: float) -> None:
        self._span = span
        self._granted: deque[float] = deque(maxlen=relists)

    def take(self, now: float, pause: float = 0.0) -> float:
        """Grant a relist and return how long to wait for it, in seconds.

        Args:
            now: The time, in seconds.
            pause: How long the caller waits in any case, in seconds.
        """
        start = now + pause
        if len(self._granted) == self._granted.maxlen:
            start = max(start, self._granted[0] + self._span)
        self._granted.append(start)
        return start - now
