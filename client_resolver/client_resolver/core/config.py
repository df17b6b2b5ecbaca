"""The configuration of a pool: its part of a service config, and a channel's own settings."""

from dataclasses import dataclass, field

from client_resolver.core.breaker import Limits
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import Policy
from client_resolver.core.pickers import DEFAULT_POLICY
from client_resolver.core.priorities import LocalityPriorities
from client_resolver.core.slow_start import SlowStart

__all__ = ["PoolConfig", "PoolOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """The part of a service config that is about backends. It may change at any time.

    Attributes:
        policy: Picks among the backends that may be picked.
        outlier: When backends are ejected. None: never.
        slow_start: How a backend that arrives is warmed up. None: it gets its share at once.
        limits: What the circuit breakers allow.
        panic_threshold: In percent of the backends that are ready: if fewer than this are not
            ejected, ejections are ignored. 0: never.
        priorities: Which backends are preferred by where they are. None: all are alike.
        subset_size: How many of the listed backends are used. None: all.
    """

    policy: Policy = DEFAULT_POLICY
    outlier: OutlierDetection | None = None
    slow_start: SlowStart | None = None
    limits: Limits = field(default_factory=Limits)
    panic_threshold: int = 0
    priorities: LocalityPriorities | None = None
    subset_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """The channel's own settings for the pool; they never change.

    Attributes:
        drain_timeout: How long a backend that has left the list may finish its RPCs, in seconds.
            None: as long as they take.
        lazy: A backend is connected when it is first picked, not when it is listed.
        idle_timeout: With `lazy`: after how many seconds without an RPC a backend's connection is
            closed. None: never.
        connections_per_backend: How many connections each backend has.
        subset_size: How many of the listed backends are used where the service config doesn't say.
            None: all.
        client_id: Tells this client from others: it decides which subset it uses.
        zone: The zone that this client runs in. Empty: unknown.
        node: The node that this client runs on. Empty: unknown.
        observed: Somebody wants the events of `client_resolver.core.events`.
    """

    drain_timeout: float | None = None
    lazy: bool = False
    idle_timeout: float | None = None
    connections_per_backend: int = 1
    subset_size: int | None = None
    client_id: str = ""
    zone: str = ""
    node: str = ""
    observed: bool = False
