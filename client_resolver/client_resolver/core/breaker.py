"""Circuit breaking: what a channel carries at once, and what it refuses (Envoy; gRFC A32)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from client_resolver.core.fields import check, whole
from client_resolver.core.model import Code, Failure

__all__ = ["Breaker", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a channel may have under way at once. None: no limit.

    Attributes:
        max_connections: Connections to backends; at least 1.
        max_pending_requests: RPCs that wait for a backend that is ready.
        max_requests: RPCs, those that wait among them.
        max_retries: Attempts after an RPC's first.

    Raises:
        ValueError: One is out of range.
    """

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None

    def __post_init__(self) -> None:
        for name, value, low in (
            ("maxConnections", self.max_connections, 1),
            ("maxPendingRequests", self.max_pending_requests, 0),
            ("maxRequests", self.max_requests, 0),
            ("maxRetries", self.max_retries, 0),
        ):
            if value is not None:
                check(name, value, low=low)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `circuitBreaker` of a service config.

        Raises:
            ValueError: A field is malformed or out of range.
        """
        return cls(
            max_connections=whole(config, "maxConnections", None),
            max_pending_requests=whole(config, "maxPendingRequests", None),
            max_requests=whole(config, "maxRequests", None),
            max_retries=whole(config, "maxRetries", None),
        )

    @property
    def bounds_rpcs(self) -> bool:
        """Whether any limit concerns single RPCs, so that they must be counted."""
        counted = (self.max_pending_requests, self.max_requests, self.max_retries)
        return any(limit is not None for limit in counted)


class Breaker:
    """Counts what is under way and refuses what would be too much.

    Each `enter`, `begin_pending` and `begin_retry` that returns None is to be followed by one
    `leave`, `end_pending` and `end_retry`; one that returns a failure has counted nothing. Not
    thread-safe: its owner serialises the calls.

    Args:
        limits: What is allowed.

    Attributes:
        limits: What is allowed from now on. It may be replaced at any time: what is under way stays
            counted, and nothing of it is ended.
        requests: RPCs under way.
        pending: Those of them that wait for a backend.
        retries: Attempts after the first that are under way.
    """

    __slots__ = ("limits", "pending", "requests", "retries")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.pending = 0
        self.retries = 0

    def enter(self) -> Failure | None:
        """Count an RPC in. Return why it is refused."""
        limit = self.limits.max_requests
        if limit is not None and self.requests >= limit:
            return _reached("max_requests", limit)
        self.requests += 1
        return None

    def leave(self) -> None:
        """Count an RPC out."""
        self.requests = _less(self.requests, "leave", "enter")

    def begin_pending(self) -> Failure | None:
        """Count in an RPC that has to wait for a backend. Return why it is refused."""
        limit = self.limits.max_pending_requests
        if limit is not None and self.pending >= limit:
            return _reached("max_pending_requests", limit)
        self.pending += 1
        return None

    def end_pending(self) -> None:
        """Count out an RPC that waited."""
        self.pending = _less(self.pending, "end_pending", "begin_pending")

    def begin_retry(self) -> Failure | None:
        """Count in an attempt after an RPC's first. Return why it is refused."""
        limit = self.limits.max_retries
        if limit is not None and self.retries >= limit:
            return _reached("max_retries", limit)
        self.retries += 1
        return None

    def end_retry(self) -> None:
        """Count out an attempt after an RPC's first."""
        self.retries = _less(self.retries, "end_retry", "begin_retry")

    def __repr__(self) -> str:
        return (
            f"<Breaker: {self.requests} requests, {self.pending} pending, {self.retries} retries;"
            f" {self.limits}>"
        )


def _reached(name: str, limit: int) -> Failure:
    return Failure(Code.UNAVAILABLE, f"circuit breaker: {name} ({limit}) reached")


def _less(count: int, end: str, begin: str) -> int:
    if count == 0:
        raise RuntimeError(f"{end} without {begin}")
    return count - 1
