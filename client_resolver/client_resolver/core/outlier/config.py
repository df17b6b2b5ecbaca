"""The settings of outlier detection, in gRFC A50's JSON form with two fields more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from client_resolver.core.fields import check, codes, duration, inside, object_in, whole

__all__ = [
    "DEFAULT_ERROR_CODES",
    "FailurePercentageEjection",
    "OutlierDetection",
    "SuccessRateEjection",
    "shows_overload",
]

DEFAULT_ERROR_CODES = frozenset(
    {"DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN"}
)
"""The default error codes: those that a sound server has no reason to return."""

_UINT32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class SuccessRateEjection:
    """Ejects backends whose success rate is far below the others'.

    Attributes:
        stdev_factor: In thousandths: how many standard deviations below the mean a rate must be.
        enforcement_percentage: How likely one that is found is ejected, in percent.
        minimum_hosts: With fewer backends that have had enough RPCs, none is ejected.
        request_volume: How many RPCs in an interval are enough.

    Raises:
        ValueError: One is out of range.
    """

    stdev_factor: int = 1900
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 100

    def __post_init__(self) -> None:
        check("stdevFactor", self.stdev_factor, low=0, high=_UINT32)
        check("enforcementPercentage", self.enforcement_percentage, low=0, high=100)
        check("minimumHosts", self.minimum_hosts, low=0, high=_UINT32)
        check("requestVolume", self.request_volume, low=0, high=_UINT32)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `successRateEjection`.

        Raises:
            ValueError: A field is malformed or out of range.
        """
        return cls(
            stdev_factor=whole(config, "stdevFactor", 1900),
            enforcement_percentage=whole(config, "enforcementPercentage", 100),
            minimum_hosts=whole(config, "minimumHosts", 5),
            request_volume=whole(config, "requestVolume", 100),
        )


@dataclass(frozen=True, slots=True)
class FailurePercentageEjection:
    """Ejects backends that fail more than a fixed part of their RPCs.

    Attributes:
        threshold: The part, in percent. Only more than this is too much: A50's algorithm says so,
            while a comment in its message says that as much as this already is.
        enforcement_percentage: How likely one that is found is ejected, in percent.
        minimum_hosts: With fewer backends that have had enough RPCs, none is ejected.
        request_volume: How many RPCs in an interval are enough.

    Raises:
        ValueError: One is out of range.
    """

    threshold: int = 85
    enforcement_percentage: int = 100
    minimum_hosts: int = 5
    request_volume: int = 50

    def __post_init__(self) -> None:
        check("threshold", self.threshold, low=0, high=100)
        check("enforcementPercentage", self.enforcement_percentage, low=0, high=100)
        check("minimumHosts", self.minimum_hosts, low=0, high=_UINT32)
        check("requestVolume", self.request_volume, low=0, high=_UINT32)

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `failurePercentageEjection`.

        Raises:
            ValueError: A field is malformed or out of range.
        """
        return cls(
            threshold=whole(config, "threshold", 85),
            enforcement_percentage=whole(config, "enforcementPercentage", 100),
            minimum_hosts=whole(config, "minimumHosts", 5),
            request_volume=whole(config, "requestVolume", 50),
        )


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When a backend is taken out of the picks for what its RPCs come to, and for how long.

    Attributes:
        interval: Seconds between two sweeps.
        base_ejection_time: Seconds that a first ejection lasts; each further one lasts as many
            times that as the backend has been ejected, less the sweeps that it has been well for.
        max_ejection_time: The most that an ejection lasts, in seconds, unless the base is longer.
        max_ejection_percent: The most backends that may be ejected at once, in percent; one may
            always be, unless this is 0.
        success_rate: Ejects those that are worse than the others. None: off.
        failure_percentage: Ejects those that are worse than a fixed threshold. None: off.
        consecutive_errors: The number of failed RPCs in a row that ejects a backend. None: off.
        error_codes: The status codes that count as an error.

    Raises:
        ValueError: One is out of range.
    """

    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: int = 10
    success_rate: SuccessRateEjection | None = None
    failure_percentage: FailurePercentageEjection | None = None
    consecutive_errors: int | None = None
    error_codes: frozenset[str] = DEFAULT_ERROR_CODES

    def __post_init__(self) -> None:
        check("interval", self.interval, above=0, unit="s")
        check("baseEjectionTime", self.base_ejection_time, low=0, unit="s")
        check("maxEjectionTime", self.max_ejection_time, low=0, unit="s")
        check("maxEjectionPercent", self.max_ejection_percent, low=0, high=100)
        if self.consecutive_errors is not None:
            check("consecutiveErrors", self.consecutive_errors, low=1, high=_UINT32)
        if "OK" in self.error_codes:
            raise ValueError("errorCodes has 'OK': a success is no error")

    @classmethod
    def parse(cls, config: Mapping[str, object]) -> Self:
        """Read the object `outlierDetection` of a service config.

        Raises:
            ValueError: A field is malformed or out of range.
        """
        base = duration(config, "baseEjectionTime", 30.0)
        rate = object_in(config, "successRateEjection")
        percentage = object_in(config, "failurePercentageEjection")
        with inside("successRateEjection"):
            success_rate = None if rate is None else SuccessRateEjection.parse(rate)
        with inside("failurePercentageEjection"):
            failure_percentage = (
                None if percentage is None else FailurePercentageEjection.parse(percentage)
            )
        return cls(
            interval=duration(config, "interval", 10.0),
            base_ejection_time=base,
            max_ejection_time=duration(config, "maxEjectionTime", max(base, 300.0)),
            max_ejection_percent=whole(config, "maxEjectionPercent", 10),
            success_rate=success_rate,
            failure_percentage=failure_percentage,
            consecutive_errors=whole(config, "consecutiveErrors", None, low=1),
            error_codes=codes(config, "errorCodes", DEFAULT_ERROR_CODES),
        )

    @property
    def counts(self) -> bool:
        """Whether anything is ejected at all, so that RPCs must be counted."""
        algorithms = (self.success_rate, self.failure_percentage, self.consecutive_errors)
        return any(one is not None for one in algorithms)

    def is_error(self, code: str) -> bool:
        """Say whether an RPC that ends with this status code counts as an error."""
        return code in self.error_codes


def shows_overload(code: str, config: OutlierDetection | None) -> bool:
    """Say whether a status shows that the backend is overloaded or broken.

    Args:
        code: The name of a gRPC status code other than OK.
        config: Says which codes are errors. None: `DEFAULT_ERROR_CODES` are.

    Returns:
        Whether it is one of them, or RESOURCE_EXHAUSTED: that may be one caller's quota, so nobody
        is ejected for it, but sending more there won't help.
    """
    errors = DEFAULT_ERROR_CODES if config is None else config.error_codes
    return code == "RESOURCE_EXHAUSTED" or code in errors
