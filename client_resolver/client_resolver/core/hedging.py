"""Hedging: an RPC's attempts run side by side on different backends, and the first answer counts.

gRFC A6, https://github.com/grpc/proposal/blob/master/A6-client-retries.md
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Self

from client_resolver.core import fields
from client_resolver.core.retry import MAX_ATTEMPTS, Throttle, pushback_wait

__all__ = ["HedgeState", "HedgingPolicy", "Verdict"]


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """The `hedgingPolicy` of a `methodConfig`.

    Attributes:
        max_attempts: The most attempts, with the first: from 2 to `MAX_ATTEMPTS`.
        delay: The time from the start of one attempt to that of the next, in seconds. 0: all at
            once.
        non_fatal: The names of the status codes after which the RPC goes on, at once with its next
            attempt. Any other ends it.

    Raises:
        ValueError: One is out of range.
    """

    max_attempts: int
    delay: float = 0.0
    non_fatal: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        fields.check("maxAttempts", self.max_attempts, low=2, high=MAX_ATTEMPTS)
        fields.check("hedgingDelay", self.delay, low=0, unit="s")
        if "OK" in self.non_fatal:
            raise ValueError("nonFatalStatusCodes has 'OK': only codes of failures are allowed")

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the policy. More attempts than `MAX_ATTEMPTS` count as that number.

        Raises:
            ValueError: It is malformed; the text names the field, the value and what is allowed.
        """
        fields.required(config, "maxAttempts")
        return cls(
            max_attempts=min(fields.whole(config, "maxAttempts", 0, low=2), MAX_ATTEMPTS),
            delay=fields.duration(config, "hedgingDelay", 0.0),
            non_fatal=fields.codes(config, "nonFatalStatusCodes", frozenset[str]()),
        )


class Verdict(Enum):
    """The consequence of one attempt's failure for its RPC."""

    FINAL = "the RPC ends with this failure, and its other attempts are cancelled"
    START = "the next attempt is to be started at once"
    WAIT = "other attempts run, or one will start at `next_at`"


class HedgeState:
    """The attempts of one RPC that has a hedging policy.

    The shell asks `start` for leave before every attempt: at first, whenever `next_at` is reached,
    and upon `Verdict.START`, each time until it is refused. So a delay of 0 starts all at once. It
    tells how each attempt ends:

    * With success, or the first response message of a stream: `succeeded`. The others are
      cancelled, and no other method is called.
    * With a failure: `failed`, and the verdict says what follows.
    * An attempt that no server processed goes to another backend and is not reported.

    When `start` refuses and `over` holds, the RPC ends with the failure told last: the throttle has
    closed since, or `stop` was called.

    Args:
        policy: The policy.
        throttle: The channel's.

    Attributes:
        attempts: How many attempts were started. The n-th carries
            `client_resolver.core.retry.PREVIOUS_ATTEMPTS: n - 1` if n is above 1.
        running: How many of them have not ended.
        next_at: When the next may start, on the clock of `now`. None: there will be no other.
    """

    __slots__ = ("_policy", "_throttle", "attempts", "next_at", "running")

    def __init__(self, policy: HedgingPolicy, throttle: Throttle) -> None:
        self._policy = policy
        self._throttle = throttle
        self.attempts = 0
        self.running = 0
        self.next_at: float | None = -math.inf

    @property
    def over(self) -> bool:
        """Whether no attempt runs and none will start."""
        return self.running == 0 and self.next_at is None

    def due(self, now: float) -> bool:
        """Whether the time of the next attempt has come, if there is to be one."""
        return self.next_at is not None and now >= self.next_at

    def start(self, now: float) -> bool:
        """Ask for the next attempt, which counts as running if it is granted.

        The first always is. Any other is granted when `next_at` is reached and the throttle allows
        it; if the throttle doesn't, there will be no other.
        """
        if not self.due(now):
            return False
        if self.attempts and not self._throttle.allows:
            self.next_at = None
            return False
        self.attempts += 1
        self.running += 1
        more = self.attempts < self._policy.max_attempts
        self.next_at = now + self._policy.delay if more else None
        return True

    def stop(self) -> None:
        """Start no other attempt: a circuit breaker or a lack of backends forbids it."""
        self.next_at = None

    def succeeded(self) -> None:
        """An attempt brought the RPC's answer."""
        self._throttle.succeeded()
        self.running -= 1
        self.next_at = None

    def failed(self, code: str, pushback: str | None, now: float) -> Verdict:
        """An attempt failed.

        Args:
            code: The name of its status code.
            pushback: What its trailing metadata has under `client_resolver.core.retry.PUSHBACK`.
                None: nothing.
            now: The present, in seconds.
        """
        self.running -= 1
        wait = pushback_wait(pushback)
        fatal = code not in self._policy.non_fatal
        if not fatal or wait == math.inf:
            self._throttle.failed()
        if fatal:
            self.next_at = None
            return Verdict.FINAL
        if wait == math.inf or not self._throttle.allows:
            self.next_at = None
        elif self.next_at is not None:
            self.next_at = now + (wait or 0.0)
        if self.over:
            return Verdict.FINAL
        return Verdict.START if self.next_at is not None and not wait else Verdict.WAIT
