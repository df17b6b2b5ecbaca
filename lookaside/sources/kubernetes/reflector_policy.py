"""Decides what a reflector does after each outcome. Pure: no clock, no sockets.

The rules are those of client-go's tools/cache/reflector.go, with a bound on how often it relists.
"""

import enum
from collections import deque

from msgspec import Struct

from lookaside.sources.kubernetes.api.errors import (
    ApiStatus,
    KubernetesError,
    MalformedResponse,
    ReadTimeout,
    ResponseTooLarge,
    SuspiciousList,
    Unreachable,
    VersionRegression,
)

RETRY_AFTER_CAP = 30.0
BRIEF_CAP = 2.0
SHORT_WATCH = 5.0
AWAY = 2.0
STARTING = 30.0
EVENTLESS_WATCHES = 2


class Phase(enum.Enum):
    """The phase that a reflector was in."""

    LIST = "list"
    WATCH = "watch"


class Decision(Struct, frozen=True, gc=False):
    """The reflector's next step.

    Attributes:
        relist: Forget the position and list; else go on with the same phase.
        rate_limited: The relist counts against the budget.
        pause: Back off first.
        at_least: The shortest pause, in seconds.
        brief: The pause is short however often this has happened: nobody is there to be spared,
            or somebody who has only just come up, and has changes to tell.
    """

    relist: bool
    rate_limited: bool = False
    pause: bool = True
    at_least: float = 0.0
    brief: bool = False


_AGAIN = Decision(relist=False)
_AT_ONCE = Decision(relist=False, pause=False)
_RELIST = Decision(relist=True, rate_limited=True)
# The budget bounds it: who pauses as well is behind one that has just been started.
_RELIST_AT_ONCE = Decision(relist=True, rate_limited=True, pause=False)
_RELIST_FREE = Decision(relist=True, pause=False)


def decide(
    error: KubernetesError | None,
    phase: Phase,
    *,
    lived: float = 0.0,
    eventless: int = 0,
    starting: bool = False,
) -> Decision:
    """Say what to do after a list or watch has ended.

    Args:
        error: Why it ended; None: the server closed a watch cleanly.
        phase: What ended.
        lived: How long the watch was open, in seconds.
        eventless: How many watches in a row, this one included, have failed with no event at all.
        starting: Whether no connection could be made less than `STARTING` seconds ago, and nothing
            has been listed since. Such a server answers 403 and 503 before it has all it needs, and
            knows no position from before: to list once after each outage costs it what everybody
            costs it who begins.
    """
    if error is None:
        return _AT_ONCE if lived >= SHORT_WATCH else _AGAIN
    if isinstance(error, SuspiciousList):
        return Decision(relist=True)
    if isinstance(error, ApiStatus) and error.loses_position:
        if phase is Phase.WATCH:
            return _RELIST_FREE if starting else _RELIST_AT_ONCE
        return _RELIST
    if phase is Phase.WATCH and (decision := _decide_watch(error, eventless)):
        return decision
    return _decide_retry(error, starting=starting)


def _decide_watch(error: KubernetesError, eventless: int) -> Decision | None:
    """Return the decision that holds for watches alone, if there is one."""
    if isinstance(error, VersionRegression):
        return _RELIST_AT_ONCE
    refused = isinstance(error, ApiStatus) and error.code in (400, 422)
    if refused or isinstance(error, ResponseTooLarge) or eventless >= EVENTLESS_WATCHES:
        return _RELIST
    return _AT_ONCE if isinstance(error, ReadTimeout) else None


def _decide_retry(error: KubernetesError, *, starting: bool) -> Decision:
    if isinstance(error, ApiStatus) and error.retry_after:
        return Decision(relist=False, at_least=min(error.retry_after, RETRY_AFTER_CAP))
    unready = starting and isinstance(error, ApiStatus) and error.code != 429
    if isinstance(error, Unreachable) or unready:
        return Decision(relist=False, brief=True)
    return _AGAIN


def doubts_position(error: KubernetesError | None) -> bool:
    """Say whether a watch that ended so, with no event, casts doubt on its position.

    A position that is ahead of a restored etcd gives a watch that is accepted and then silent; only
    a list tells it from a quiet cluster.
    """
    match error:
        case ApiStatus(code=401 | 403 | 429):
            return False
        case ApiStatus() | ReadTimeout() | MalformedResponse():
            return True
    return False


class RelistBudget:
    """Limits the number of relists in any span of time.

    Args:
        relists: How many.
        span: Within how many seconds.
    """

    def __init__(self, relists: int, span: float) -> None:
        self._span = span
        self._granted: deque[float] = deque(maxlen=relists)

    def free(self, now: float) -> float:
        """Return in how many seconds a relist would be granted with no wait."""
        if len(self._granted) < (self._granted.maxlen or 0):
            return 0.0
        return max(self._granted[0] + self._span - now, 0.0)

    def take(self, now: float, pause: float = 0.0) -> float:
        """Grant a relist and return how long to wait for it, in seconds.

        Args:
            now: The time, in seconds.
            pause: How long the caller waits in any case, in seconds.
        """
        start = now + max(pause, self.free(now))
        self._granted.append(start)
        return start - now
