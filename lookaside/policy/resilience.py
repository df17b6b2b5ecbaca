"""Service-config fields for backends that fail, are new or are far away.

The companion package implements these fields of a service config; gRPC ignores them.
"""

from msgspec import Struct

from lookaside.policy.checks import check_codes, check_duration, check_range, expect

__all__ = ["CircuitBreaker", "LocalityPriorities", "OutlierDetection", "SlowStart"]

_LEVELS = ("node", "zone")


class _SuccessRate(Struct, rename="camel", forbid_unknown_fields=True):
    stdev_factor: int = 1900
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        check_range("stdevFactor", self.stdev_factor, 0)
        check_range("enforcementPercentage", self.enforcement_percentage, 0, 100)
        check_range("minimumHosts", self.minimum_hosts, 0)
        check_range("requestVolume", self.request_volume, 0)


class _FailurePercentage(Struct, rename="camel", forbid_unknown_fields=True):
    threshold: int = 85
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 100)
        check_range("enforcementPercentage", self.enforcement_percentage, 0, 100)
        check_range("minimumHosts", self.minimum_hosts, 0)
        check_range("requestVolume", self.request_volume, 0)


class OutlierDetection(Struct, rename="camel", forbid_unknown_fields=True):
    """When a backend is taken out for what its RPCs come to: gRFC A50, and errors in a row."""

    interval: str = "10s"
    base_ejection_time: str = "30s"
    max_ejection_time: str = "300s"
    max_ejection_percent: int = 10
    success_rate_ejection: _SuccessRate | None = None
    failure_percentage_ejection: _FailurePercentage | None = None
    consecutive_errors: int | None = None
    error_codes: list[str] | None = None

    def __post_init__(self) -> None:
        check_duration(self.interval, "interval")
        check_duration(self.base_ejection_time)
        check_duration(self.max_ejection_time)
        check_range("maxEjectionPercent", self.max_ejection_percent, 0, 100)
        check_range("consecutiveErrors", self.consecutive_errors, 1)
        check_codes(self.error_codes or [])


class SlowStart(Struct, rename="camel", forbid_unknown_fields=True):
    """Slow start: how a new backend is warmed up."""

    window: str
    aggression: float = 1.0
    min_weight_percent: float = 10.0

    def __post_init__(self) -> None:
        check_duration(self.window, "window")
        expect(self.aggression > 0, "aggression must be above 0")
        expect(0 < self.min_weight_percent <= 100, "minWeightPercent must be above 0, at most 100")


class CircuitBreaker(Struct, rename="camel", forbid_unknown_fields=True):
    """Circuit-breaker limits of a channel."""

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None

    def __post_init__(self) -> None:
        check_range("maxConnections", self.max_connections, 1)
        check_range("maxPendingRequests", self.max_pending_requests, 0)
        check_range("maxRequests", self.max_requests, 0)
        check_range("maxRetries", self.max_retries, 0)


class LocalityPriorities(Struct, rename="camel", forbid_unknown_fields=True):
    """Priorities of backends by locality."""

    levels: list[str]
    overprovisioning_factor: int = 140

    def __post_init__(self) -> None:
        in_order = [level for level in _LEVELS if level in self.levels]
        expect(
            bool(self.levels) and self.levels == in_order,
            f"levels must be one or more of {', '.join(_LEVELS)}, in this order",
        )
        check_range("overprovisioningFactor", self.overprovisioning_factor, 100)
