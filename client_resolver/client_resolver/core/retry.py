"""When a failed RPC is tried again: gRFC A6's retry policy, its throttle and the server's pushback.

https://github.com/grpc/proposal/blob/master/A6-client-retries.md

What is decided here concerns attempts that a server may have processed. An attempt that no server
processed (`client_resolver.core.replay`) is repeated at once and not reported here at all.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Self

from client_resolver.core import fields
from client_resolver.core.guard import Guard

__all__ = [
    "MAX_ATTEMPTS",
    "PREVIOUS_ATTEMPTS",
    "PUSHBACK",
    "Retries",
    "RetryPolicy",
    "Throttle",
    "Throttling",
    "pushback_in",
    "pushback_wait",
]

MAX_ATTEMPTS = 5
"""The most attempts that an RPC gets, whatever its policy says (gRFC A6)."""

PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
"""The metadata key under which every attempt but the first tells how many there were before it."""

PUSHBACK = "grpc-retry-pushback-ms"
"""The key in the trailing metadata with which a server says when to try again, or not to."""

_PUSHBACK = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The `retryPolicy` of a `methodConfig`.

    Attributes:
        max_attempts: The most attempts, with the first: from 2 to `MAX_ATTEMPTS`.
        initial_backoff: The wait before the second attempt, in seconds.
        max_backoff: The largest wait, in seconds. All waits are jittered by a fifth.
        backoff_multiplier: What each wait is multiplied by for the next.
        codes: The names of the status codes that are tried again.
        per_attempt_timeout: How long an attempt may take until its first response message, or its
            end, before it is given up for another, in seconds (gRFC A6's `perAttemptRecvTimeout`).
            None: as long as the RPC.

    Raises:
        ValueError: One is out of range.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    backoff_multiplier: float
    codes: frozenset[str]
    per_attempt_timeout: float | None = None

    def __post_init__(self) -> None:
        fields.check("maxAttempts", self.max_attempts, low=2, high=MAX_ATTEMPTS)
        fields.check("initialBackoff", self.initial_backoff, above=0, unit="s")
        fields.check("maxBackoff", self.max_backoff, above=0, unit="s")
        fields.check("backoffMultiplier", self.backoff_multiplier, above=0)
        if self.per_attempt_timeout is not None:
            fields.check("perAttemptRecvTimeout", self.per_attempt_timeout, above=0, unit="s")
        if "OK" in self.codes:
            raise ValueError("retryableStatusCodes has 'OK': only codes of failures are allowed")
        if not self.codes and self.per_attempt_timeout is None:
            raise ValueError(
                "retryableStatusCodes is empty: at least one code is wanted where there is no "
                "perAttemptRecvTimeout"
            )

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the policy. More attempts than `MAX_ATTEMPTS` count as that number.

        Raises:
            ValueError: It is malformed; the text names the field, the value and what is allowed.
        """
        fields.required(config, "maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier")
        return cls(
            max_attempts=min(fields.whole(config, "maxAttempts", 0, low=2), MAX_ATTEMPTS),
            initial_backoff=fields.duration(config, "initialBackoff", 0.0),
            max_backoff=fields.duration(config, "maxBackoff", 0.0),
            backoff_multiplier=fields.number(config, "backoffMultiplier", 0.0),
            codes=fields.codes(config, "retryableStatusCodes", frozenset[str]()),
            per_attempt_timeout=fields.duration(config, "perAttemptRecvTimeout", None),
        )


@dataclass(frozen=True, slots=True)
class Throttling:
    """The `retryThrottling` of a service config.

    Attributes:
        max_tokens: The tokens at the start, and the most there can be: above 0, at most 1000.
            While half of them or fewer are left, nothing is tried again.
        token_ratio: What a success gives back. A failure takes 1. Of both numbers, decimal places
            beyond the third don't count.

    Raises:
        ValueError: One is out of range.
    """

    max_tokens: float
    token_ratio: float

    def __post_init__(self) -> None:
        fields.check("maxTokens", self.max_tokens, low=0.001, high=1000)
        fields.check("tokenRatio", self.token_ratio, low=0.001)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the setting.

        Raises:
            ValueError: It is malformed; the text names the field, the value and what is allowed.
        """
        fields.required(config, "maxTokens", "tokenRatio")
        return cls(
            max_tokens=fields.number(config, "maxTokens", 0.0),
            token_ratio=fields.number(config, "tokenRatio", 0.0),
        )


class Throttle:
    """The tokens of one channel: keeps retries from multiplying the load on servers that fail.

    A channel has one for all of its RPCs, for as long as it lives, also while its config asks for
    none: then everything is allowed. Any thread may call it at any time, also while it is in here:
    what it tells is added up then as soon as the one before it is.

    `Retries` and `HedgeState` tell it what comes of their RPCs' attempts. As in C-core, an RPC
    without a retry or hedging policy counts for nothing.
    """

    __slots__ = ("_changes", "_guard", "_max", "_ratio", "_tokens")

    def __init__(self, throttling: Throttling | None = None) -> None:
        # Thousandths, so that sums are exact.
        self._max = 0
        self._ratio = 0
        self._tokens = 0
        self._guard = Guard()
        self._changes: deque[int] = deque()
        self.configure(throttling)

    def configure(self, throttling: Throttling | None) -> None:
        """Use this setting from now on. The share of the remaining tokens stays the same."""
        before, tokens = self._max, self._tokens
        self._max = _thousandths(throttling.max_tokens) if throttling else 0
        self._ratio = _thousandths(throttling.token_ratio) if throttling else 0
        self._tokens = self._max * tokens // before if before else self._max

    @property
    def tokens(self) -> float:
        """How many tokens are left."""
        return self._tokens / 1000

    @property
    def allows(self) -> bool:
        """Whether anything may be tried again: more than half of the tokens are left."""
        return not self._max or self._tokens * 2 > self._max

    def succeeded(self) -> None:
        """An attempt succeeded."""
        if self._tokens < self._max or self._changes:
            self._change(self._ratio)

    def failed(self) -> None:
        """An attempt failed with a code of the policy, or with "don't retry"."""
        self._change(-1000)

    def _change(self, change: int) -> None:
        self._changes.append(change)
        self._guard.run(self._add_up, _leave)

    def _add_up(self) -> None:
        changes = self._changes
        while changes:
            self._tokens = max(0, min(self._tokens + changes.popleft(), self._max))


def _leave() -> None:
    """Leave it to the one who is at it."""


class Retries:
    """The attempts of one RPC that has a retry policy.

    The shell starts the first attempt, and tells how each ends: `succeeded`, `failed` or
    `timed_out`. What the last two return is the wait until the next attempt, or that the RPC ends
    with this outcome. Not reported are attempts that no server processed, that the application
    cancelled, or that failed when the RPC was committed (a response message or initial metadata
    had reached the application).

    Args:
        policy: The policy.
        throttle: The channel's.
        rng: The source of the jitter.

    Attributes:
        attempts: How many attempts there were, with the one under way: 1 from the start. The n-th
            carries `PREVIOUS_ATTEMPTS: n - 1` if n is above 1.
    """

    __slots__ = ("_growth", "_policy", "_rng", "_throttle", "attempts")

    def __init__(self, policy: RetryPolicy, throttle: Throttle, rng: Random) -> None:
        self._policy = policy
        self._throttle = throttle
        self._rng = rng
        self._growth = 1.0
        self.attempts = 1

    @property
    def more(self) -> bool:
        """Whether another attempt could follow: what would be needed for it is to be kept."""
        return self.attempts < self._policy.max_attempts

    def succeeded(self) -> None:
        """The RPC succeeded."""
        self._throttle.succeeded()

    def failed(self, code: str, pushback: str | None = None) -> float | None:
        """An attempt failed.

        Args:
            code: The name of its status code.
            pushback: What its trailing metadata has under `PUSHBACK`. None: nothing.

        Returns:
            Seconds until the next attempt, which is counted already. None: the outcome is final.
        """
        wait = pushback_wait(pushback)
        retryable = code in self._policy.codes
        if retryable or wait == math.inf:
            self._throttle.failed()
        return self._next(wait) if retryable else None

    def timed_out(self) -> float | None:
        """An attempt was abandoned after the policy's `per_attempt_timeout`.

        Returns:
            As `failed`. None: the RPC fails with DEADLINE_EXCEEDED.
        """
        self._throttle.failed()
        return self._next(None)

    def _next(self, pushback: float | None) -> float | None:
        if pushback == math.inf or not self.more or not self._throttle.allows:
            return None
        self.attempts += 1
        if pushback is not None:
            self._growth = 1.0
            return pushback
        policy = self._policy
        backoff = min(policy.initial_backoff * self._growth, policy.max_backoff)
        self._growth *= policy.backoff_multiplier
        return backoff * self._rng.uniform(0.8, 1.2)


def pushback_in(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Find what a server's trailing metadata has under `PUSHBACK`. None: nothing.

    Several values contradict each other, and are returned as one that `pushback_wait` can't read.
    """
    values = [str(value) for key, value in metadata if key == PUSHBACK]
    return ",".join(values) if values else None


def pushback_wait(pushback: str | None) -> float | None:
    """Read a pushback: the seconds to wait. inf: no more attempts, as for what can't be read."""
    if pushback is None:
        return None
    return int(pushback) / 1000 if _PUSHBACK.fullmatch(pushback) else math.inf


def _thousandths(value: float) -> int:
    """What A6 takes of a number: 0.5466 is 546, and 1.001, which has no exact float, is 1001."""
    return int(Decimal(str(value)) * 1000)
