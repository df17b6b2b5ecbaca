"""Circuit breaking: what a channel carries at once, and what it refuses (Envoy; gRFC A32)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from client_resolver.core.fields import check, whole
from client_resolver.core.guard import RLock
from client_resolver.core.model import Code, Failure
from client_resolver.core.slots import Live, Slot

__all__ = ["Breaker", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Circuit-breaker limits of a channel. None: no limit.

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

    `enter`, `begin_pending` and `begin_retry` return a slot, which counts until it is given back or
    dies, or the failure that the RPC ends with, and then nothing is counted. Any thread may call
    them at any time, also while it is in here: nothing is awaited inside.

    Args:
        limits: What is allowed.

    Attributes:
        limits: What is allowed from now on. It may be replaced at any time: what is under way stays
            counted, and nothing of it is ended.
    """

    __slots__ = ("_lock", "_pending", "_requests", "_retries", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Between threads alone: a signal handler or a finaliser that interrupts its own thread
        # passes. First counted, then looked at, the count is right for it as well.
        self._lock = RLock()
        self._requests: Live = set()
        self._pending: Live = set()
        self._retries: Live = set()

    @property
    def requests(self) -> int:
        """RPCs under way."""
        return len(self._requests)

    @property
    def pending(self) -> int:
        """Those of them that wait for a backend."""
        return len(self._pending)

    @property
    def retries(self) -> int:
        """Attempts after the first that are under way."""
        return len(self._retries)

    def enter(self) -> Slot | Failure:
        """Count an RPC in, or say why it is refused."""
        with self._lock:
            slot = Slot(self._requests)
            limit = self.limits.max_requests
            if limit is None or len(self._requests) <= limit:
                return slot
            slot.give_back()
        return _reached("max_requests", limit)

    def begin_pending(self) -> Slot | Failure:
        """Count in an RPC that has to wait for a backend, or say why it is refused."""
        return self._count(self._pending, "max_pending_requests")

    def begin_retry(self) -> Slot | Failure:
        """Count in an attempt after an RPC's first, or say why it is refused."""
        return self._count(self._retries, "max_retries")

    def _count(self, live: Live, name: str) -> Slot | Failure:
        with self._lock:
            slot = Slot(live)
            limit: int | None = getattr(self.limits, name)
            if limit is None or len(live) <= limit:
                return slot
            slot.give_back()
        return _reached(name, limit)

    def __repr__(self) -> str:
        return (
            f"<Breaker: {self.requests} requests, {self.pending} pending, {self.retries} retries;"
            f" {self.limits}>"
        )


def _reached(name: str, limit: int) -> Failure:
    return Failure(Code.UNAVAILABLE, f"circuit breaker: {name} ({limit}) reached")
