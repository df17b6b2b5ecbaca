"""The service config that a Service's annotation gives to its clients.

https://github.com/grpc/grpc/blob/master/doc/service_config.md
"""

import re

import msgspec
from msgspec import Struct

SERVICE_CONFIG = "lookaside.dev/service-config"

_MAX_BYTES = 16 * 1024
_DURATION = re.compile(r"\d{1,12}(\.\d{1,9})?s")
_CODES = {
    *("CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
}


class _Name(Struct, forbid_unknown_fields=True):
    service: str = ""
    method: str = ""


class _Retry(Struct, rename="camel", forbid_unknown_fields=True):
    max_attempts: int
    initial_backoff: str
    max_backoff: str
    backoff_multiplier: float
    retryable_status_codes: list[str]
    per_attempt_recv_timeout: str = "1s"

    def __post_init__(self) -> None:
        _expect(self.max_attempts >= 2, "maxAttempts must be 2 or more")
        _expect(self.backoff_multiplier > 0, "backoffMultiplier must be above 0")
        _expect(bool(self.retryable_status_codes), "retryableStatusCodes must name one")
        _check_codes(self.retryable_status_codes)
        for text in (self.initial_backoff, self.max_backoff, self.per_attempt_recv_timeout):
            _check_duration(text)


class _Hedging(Struct, rename="camel", forbid_unknown_fields=True):
    max_attempts: int
    hedging_delay: str = "0s"
    non_fatal_status_codes: list[str] = []

    def __post_init__(self) -> None:
        _expect(self.max_attempts >= 2, "maxAttempts must be 2 or more")
        _check_codes(self.non_fatal_status_codes)
        _check_duration(self.hedging_delay)


class _Method(Struct, rename="camel", forbid_unknown_fields=True):
    name: list[_Name] = []
    wait_for_ready: bool = False
    timeout: str = "0s"
    max_request_message_bytes: int = 0
    max_response_message_bytes: int = 0
    retry_policy: _Retry | None = None
    hedging_policy: _Hedging | None = None

    def __post_init__(self) -> None:
        _check_duration(self.timeout)
        both = self.retry_policy is not None and self.hedging_policy is not None
        _expect(not both, "a method has either retryPolicy or hedgingPolicy")


class _Throttling(Struct, rename="camel", forbid_unknown_fields=True):
    max_tokens: float
    token_ratio: float

    def __post_init__(self) -> None:
        _expect(0 < self.max_tokens <= 1000, "maxTokens must be above 0 and at most 1000")
        _expect(self.token_ratio > 0, "tokenRatio must be above 0")


class _HealthCheck(Struct, rename="camel", forbid_unknown_fields=True):
    service_name: str = ""


class _ServiceConfig(Struct, rename="camel", forbid_unknown_fields=True):
    load_balancing_policy: str = ""
    load_balancing_config: list[dict[str, dict[str, object]]] = []
    method_config: list[_Method] = []
    retry_throttling: _Throttling | None = None
    health_check_config: _HealthCheck | None = None

    def __post_init__(self) -> None:
        for config in self.load_balancing_config:
            _expect(len(config) == 1, "each of loadBalancingConfig must name one policy")


def parse_service_config(text: str) -> str:
    """Check a gRPC service config and return it as compact JSON.

    Policies of ``loadBalancingConfig`` that are not known here are kept: clients take the first
    that they know.

    Raises:
        ValueError: It is not a service config; the text says where and why.
    """
    if len(text.encode()) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    try:
        msgspec.json.decode(text, type=_ServiceConfig)
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _expect(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)


def _check_duration(text: str) -> None:
    _expect(bool(_DURATION.fullmatch(text)), f"{text!r} is not a duration such as 0.5s")


def _check_codes(codes: list[str]) -> None:
    for code in codes:
        _expect(code in _CODES, f"{code!r} is not a gRPC status code")
