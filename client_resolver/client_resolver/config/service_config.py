"""gRPC service configs: the load-balancing policy, and what applies to each method.

The format is `grpc.service_config.ServiceConfig` in its JSON form, with fields of this package's
own at its top, which gRPC itself ignores:
https://github.com/grpc/grpc/blob/master/doc/service_config.md
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from client_resolver.config.config_fields import (
    MAX_TABLE_SIZE,
    mistyped,
    out_of_bounds,
    unknown_fields,
)
from client_resolver.config.lb_policy_config import PolicyLike, choose_policy
from client_resolver.config.method_config import (
    MethodConfig,
    parse_forwarded_methods,
    parse_methods,
)
from client_resolver.core import fields
from client_resolver.core.breaker import Limits
from client_resolver.core.config import PoolConfig
from client_resolver.core.outlier import OutlierDetection
from client_resolver.core.picker import Policy, PolicyFactory
from client_resolver.core.pickers import DEFAULT_POLICY
from client_resolver.core.priorities import LocalityPriorities
from client_resolver.core.retry import Throttling
from client_resolver.core.slow_start import SlowStart
from client_resolver.errors import ServiceConfigError

__all__ = ["MethodConfig", "ServiceConfig", "parse_service_config"]

_logger = logging.getLogger("client_resolver")

T = TypeVar("T")

_WARNINGS = 20
"""Maximum number of unknown fields in a warning: a config may come from anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """A service config, checked.

    Attributes:
        policy: The load-balancing policy.
        methods: By `service/method`, by `service/` and by `/` for all: what applies there.
        throttling: When retries and hedges stop, for all RPCs of a channel. None: never.
        health_service: The name under which a backend is asked for its health (gRFC A17). Empty:
            for that of its whole server. None: it isn't asked.
        outlier: When a backend is ejected for what its RPCs come to. None: never.
        slow_start: How a backend that arrives is warmed up. None: it gets its share at once.
        limits: What the circuit breakers allow.
        panic_threshold: In percent of the backends that are ready: if fewer than this are not
            ejected, ejections are ignored. 0: never.
        priorities: Which backends are preferred by where they are. None: all are alike.
        subset_size: How many of the listed backends are used. None: all.
        forwarded: The part that C-core carries out on each backend's channel, as JSON: health
            checks and limits of message sizes. Empty: none.
    """

    policy: Policy = DEFAULT_POLICY
    methods: Mapping[str, MethodConfig] = field(default_factory=dict)
    throttling: Throttling | None = None
    health_service: str | None = None
    outlier: OutlierDetection | None = None
    slow_start: SlowStart | None = None
    limits: Limits = field(default_factory=Limits)
    panic_threshold: int = 0
    priorities: LocalityPriorities | None = None
    subset_size: int | None = None
    forwarded: str = ""

    @property
    def pool(self) -> PoolConfig:
        """The part that is about backends."""
        return PoolConfig(
            policy=self.policy,
            outlier=self.outlier,
            slow_start=self.slow_start,
            limits=self.limits,
            panic_threshold=self.panic_threshold,
            priorities=self.priorities,
            subset_size=self.subset_size,
        )

    def method(self, path: str) -> MethodConfig:
        """Find what applies to `/package.Service/Method`: the most exact entry alone."""
        service, _, name = path.removeprefix("/").rpartition("/")
        for key in (f"{service}/{name}", f"{service}/", "/"):
            if key in self.methods:
                return self.methods[key]
        return MethodConfig()


def parse_service_config(
    config: str | Mapping[str, object] | None,
    policy: PolicyLike | None = None,
    policy_name: str | None = None,
    policies: Mapping[str, PolicyFactory] | None = None,
    max_table_size: int = MAX_TABLE_SIZE,
) -> ServiceConfig:
    """Read a service config.

    The policy is the channel's own `policy`; without it, the first of `loadBalancingConfig` that is
    known; then `loadBalancingPolicy`, `policy_name`, the default. gRPC's wrappers for outlier
    detection and subsetting are taken off in `loadBalancingConfig`; `outlierDetection` at the top
    goes before theirs. A field that isn't known, at whatever level, is named in a warning and left
    out. Values that could harm the process, such as a sweep without a pause, are refused.

    Args:
        config: The config as JSON or as what JSON gives. None: an empty one.
        policy: The policy that goes before the config's: its name, or `{name: settings}`.
        policy_name: The channel argument `grpc.lb_policy_name`.
        policies: The user's own policies: factories, by name.
        max_table_size: How many entries a ring or table has at most: larger ones are cut to it.

    Raises:
        ServiceConfigError: It is malformed, or names no policy that is known. The text names the
            field, its value and what is allowed.
    """
    try:
        return _parse(_decode(config), policy, policy_name, policies or {}, max_table_size)
    except RecursionError as error:
        raise ServiceConfigError("service config is nested too deep") from error
    except ValueError as error:
        raise ServiceConfigError(str(error)) from error


def _decode(config: str | Mapping[str, object] | None) -> Mapping[str, object]:
    if config is None:
        return {}
    decoded: object = config
    if isinstance(config, str):
        try:
            decoded = json.loads(config)
        except ValueError as error:
            raise ValueError(f"service config is not JSON: {error}") from error
    if not isinstance(decoded, Mapping):
        raise ValueError(f"service config is {decoded!r}: a JSON object is wanted")  # noqa: TRY004
    return decoded


def _parse(
    config: Mapping[str, object],
    policy: PolicyLike | None,
    policy_name: str | None,
    policies: Mapping[str, PolicyFactory],
    max_table_size: int,
) -> ServiceConfig:
    own = tuple(policies)
    for unknown in islice(unknown_fields(config, own), _WARNINGS):
        _logger.warning("service config: %s", unknown)
    given = {} if policy is None or isinstance(policy, str) else {"loadBalancingConfig": [policy]}
    for unknown in unknown_fields(given, own):
        _logger.warning("policy: %s", unknown.removeprefix("loadBalancingConfig."))
    balancing = choose_policy(config, policy, policy_name, policies, max_table_size)
    health = fields.object_in(config, "healthCheckConfig") or {}
    with fields.inside("healthCheckConfig"):
        health_service = fields.text(health, "serviceName", None)
    parsed = ServiceConfig(
        policy=balancing.policy,
        methods=parse_methods(config),
        throttling=_object(config, "retryThrottling", Throttling.parse),
        health_service=health_service,
        outlier=_object(config, "outlierDetection", OutlierDetection.parse) or balancing.outlier,
        slow_start=_object(config, "slowStart", SlowStart.parse),
        limits=_object(config, "circuitBreaker", Limits.parse) or Limits(),
        panic_threshold=fields.whole(config, "panicThreshold", 0, high=100),
        priorities=_object(config, "localityPriorities", LocalityPriorities.parse),
        subset_size=balancing.subset_size,
        forwarded=_forwarded(config, health_service),
    )
    for check in (mistyped, out_of_bounds):
        if harm := "; ".join((*check(config, own), *check(given, own))):
            raise ValueError(harm)
    return parsed


def _object(
    config: Mapping[str, object], name: str, parse: Callable[[Mapping[str, object]], T]
) -> T | None:
    value = fields.object_in(config, name)
    if value is None:
        return None
    with fields.inside(name):
        return parse(value)


def _forwarded(config: Mapping[str, object], health_service: str | None) -> str:
    """Write what C-core carries out, checked: what it can't read fails every RPC."""
    parts: dict[str, object] = {}
    methods = parse_forwarded_methods(config)
    if methods:
        parts["methodConfig"] = methods
    if health_service is not None:
        # pick_first, the default of a backend's channel, makes no health checks.
        parts["loadBalancingConfig"] = [{"round_robin": {}}]
        parts["healthCheckConfig"] = {"serviceName": health_service}
    return json.dumps(parts) if parts else ""
