"""The service config that a Service's annotation gives to its clients.

https://github.com/grpc/grpc/blob/master/doc/service_config.md
"""

import json
import re
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from lookaside.policy.checks import check_codes, check_duration, check_range, expect
from lookaside.policy.config_fields import MAX_TABLE_SIZE, mistyped, out_of_bounds, unknown_fields
from lookaside.policy.resilience import (
    CircuitBreaker,
    LocalityPriorities,
    OutlierDetection,
    SlowStart,
)

SERVICE_CONFIG = "lookaside.dev/service-config"

STICKY = '{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}'
"""For a Service whose sessionAffinity is ClientIP: a client stays with one endpoint (gRFC A62)."""

_MAX_BYTES = 16 * 1024
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class _Name(Struct, forbid_unknown_fields=True):
    service: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        expect(bool(self.service) or not self.method, "a method must have its service's name")


class _Retry(Struct, rename="camel", forbid_unknown_fields=True):
    max_attempts: int
    initial_backoff: str
    max_backoff: str
    backoff_multiplier: float
    retryable_status_codes: list[str] = []
    per_attempt_recv_timeout: str | None = None

    def __post_init__(self) -> None:
        expect(self.max_attempts >= 2, "maxAttempts must be 2 or more")
        expect(self.backoff_multiplier > 0, "backoffMultiplier must be above 0")
        expect(
            bool(self.retryable_status_codes) or self.per_attempt_recv_timeout is not None,
            "retryableStatusCodes must name one",
        )
        check_codes(self.retryable_status_codes)
        check_duration(self.initial_backoff, "initialBackoff")
        check_duration(self.max_backoff, "maxBackoff")
        if self.per_attempt_recv_timeout is not None:
            check_duration(self.per_attempt_recv_timeout, "perAttemptRecvTimeout")


class _Hedging(Struct, rename="camel", forbid_unknown_fields=True):
    max_attempts: int
    hedging_delay: str = "0s"
    non_fatal_status_codes: list[str] = []

    def __post_init__(self) -> None:
        expect(self.max_attempts >= 2, "maxAttempts must be 2 or more")
        check_codes(self.non_fatal_status_codes)
        check_duration(self.hedging_delay)


class _Method(Struct, rename="camel", forbid_unknown_fields=True):
    name: list[_Name] = []
    wait_for_ready: bool = False
    timeout: str = "0s"
    max_request_message_bytes: int | None = None
    max_response_message_bytes: int | None = None
    retry_policy: _Retry | None = None
    hedging_policy: _Hedging | None = None

    def __post_init__(self) -> None:
        check_duration(self.timeout)
        check_range("maxRequestMessageBytes", self.max_request_message_bytes, 0)
        check_range("maxResponseMessageBytes", self.max_response_message_bytes, 0)
        both = self.retry_policy is not None and self.hedging_policy is not None
        expect(not both, "a method has either retryPolicy or hedgingPolicy")


class _Throttling(Struct, rename="camel", forbid_unknown_fields=True):
    max_tokens: float
    token_ratio: float

    def __post_init__(self) -> None:
        # Thousandths are the least that counts.
        expect(0.001 <= self.max_tokens <= 1000, "maxTokens must be above 0 and at most 1000")
        expect(self.token_ratio >= 0.001, "tokenRatio must be above 0: 0.001 is the least")


class _HealthCheck(Struct, rename="camel", forbid_unknown_fields=True):
    service_name: str = ""


class _ServiceConfig(Struct, rename="camel", forbid_unknown_fields=True):
    load_balancing_policy: str = ""
    load_balancing_config: list[dict[str, dict[str, object]]] = []
    method_config: list[_Method] = []
    retry_throttling: _Throttling | None = None
    health_check_config: _HealthCheck | None = None
    outlier_detection: OutlierDetection | None = None
    slow_start: SlowStart | None = None
    circuit_breaker: CircuitBreaker | None = None
    panic_threshold: int = 0
    locality_priorities: LocalityPriorities | None = None

    def __post_init__(self) -> None:
        check_range("panicThreshold", self.panic_threshold, 0, 100)
        names = [name for method in self.method_config for name in method.name]
        keys = [(name.service, name.method) for name in names]
        expect(len(keys) == len(set(keys)), "methodConfig must name a method or service once")
        for config in self.load_balancing_config:
            expect(len(config) == 1, "each of loadBalancingConfig must name one policy")


def parse_service_config(text: str) -> str:
    """Check a gRPC service config and return it as compact JSON.

    Policies that are not known here are kept, as clients may have them: they take the first that
    they know. `strange_policies` tells of them.

    Raises:
        ValueError: It is not a service config; the text says where and why.
    """
    if len(text.encode()) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    try:
        config: object = msgspec.json.decode(text)
        if isinstance(config, dict):
            _refuse(unknown_fields(config))
        msgspec.json.decode(text, type=_ServiceConfig)
        if isinstance(config, dict):
            _refuse(mistyped(config))
            _refuse(out_of_bounds(config, max_table_size=MAX_TABLE_SIZE))
        _JSON.decode(text)
        compact = msgspec.json.encode(config).decode()
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    expect(not _ESCAPED_NUL.search(compact), "NUL in a text: not every client can take it")
    return compact


def _refuse(faults: Iterable[str]) -> None:
    found = "; ".join(faults)
    if found:
        raise ValueError(found)


def _check_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that stands twice: msgspec takes the last, clients may take the first."""
    found = dict[str, object]()
    for key, value in pairs:
        expect(key not in found, f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_check_object)
