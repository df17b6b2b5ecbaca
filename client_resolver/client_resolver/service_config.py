"""gRPC service configs: the load-balancing policy, and what applies to each method.

The format is `grpc.service_config.ServiceConfig` in its JSON form:
https://github.com/grpc/grpc/blob/master/doc/service_config.md
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from client_resolver.core.picker import Policy
from client_resolver.core.pickers import DEFAULT_POLICY, POLICIES
from client_resolver.errors import ServiceConfigError

__all__ = ["MethodConfig", "ServiceConfig", "parse_service_config"]

_logger = logging.getLogger("client_resolver")

_DURATION = re.compile(r"(\d+(?:\.\d{1,9})?)s")
_OURS = frozenset({"loadBalancingConfig", "loadBalancingPolicy"})
_FORWARDED = frozenset({"methodConfig", "retryThrottling"})
_OURS_IN_METHOD = frozenset({"name", "timeout", "waitForReady"})
_CODES = frozenset(code.name for code in grpc.StatusCode)


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """What bounds an RPC of one method before it is sent.

    Attributes:
        wait_for_ready: What an RPC does that doesn't say so itself. None: it fails fast.
        timeout: The longest that an RPC may take, in seconds. None: as the RPC says.
    """

    wait_for_ready: bool | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """A service config, checked.

    Attributes:
        policy: The load-balancing policy.
        methods: By `service/method`, by `service/` and by `/` for all: what applies there.
        forwarded: The part that C-core carries out on each backend's channel, as JSON. Empty: none.
            Timeouts and waitForReady are not in it: they are applied before the pick.
    """

    policy: Policy = DEFAULT_POLICY
    methods: Mapping[str, MethodConfig] = field(default_factory=dict)
    forwarded: str = ""

    def method(self, path: str) -> MethodConfig:
        """Find what applies to `/package.Service/Method`: the most exact entry alone."""
        service, _, name = path.removeprefix("/").rpartition("/")
        for key in (f"{service}/{name}", f"{service}/", "/"):
            if key in self.methods:
                return self.methods[key]
        return MethodConfig()


def parse_service_config(
    config: str | Mapping[str, object] | None, policy_name: str | None = None
) -> ServiceConfig:
    """Read a service config.

    Of `loadBalancingConfig`, the first policy that is known is taken; without that field,
    `loadBalancingPolicy`, then `policy_name`, then the default. Of `methodConfig`, `timeout` and
    `waitForReady` are applied here; its other fields and `retryThrottling` are passed on to C-core,
    which applies them on each backend's connection. Any other field is named in a warning and left
    out.

    Args:
        config: The config as JSON or as what JSON gives. None: an empty one.
        policy_name: The channel argument `grpc.lb_policy_name`.

    Raises:
        ServiceConfigError: It is malformed, or names no policy that is known.
    """
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError as error:
            raise ServiceConfigError(f"service config is not JSON: {error}") from error
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        raise ServiceConfigError("service config is not a JSON object")
    for name in sorted(config.keys() - _OURS - _FORWARDED):
        _logger.warning("service config: %r is not supported and has no effect", name)
    return ServiceConfig(
        policy=_policy(config, policy_name),
        methods=_methods(config.get("methodConfig", [])),
        forwarded=_forwarded(config),
    )


def _policy(config: Mapping[str, object], policy_name: str | None) -> Policy:
    entries = config.get("loadBalancingConfig")
    if entries is not None:
        names = []
        for entry in _list(entries, "loadBalancingConfig"):
            if not isinstance(entry, Mapping) or len(entry) != 1:
                raise ServiceConfigError(
                    f"loadBalancingConfig: {entry!r} is not an object with one policy name"
                )
            ((name, settings),) = entry.items()
            names.append(name)
            if name in POLICIES:
                for key in settings or {}:
                    _logger.warning("loadBalancingConfig: %s has no setting %r", name, key)
                return POLICIES[name]
        raise _unknown("loadBalancingConfig", names)
    named = config.get("loadBalancingPolicy", policy_name)
    if named is None:
        return DEFAULT_POLICY
    # The enum form of the field was upper case.
    policy = POLICIES.get(str(named).lower())
    if policy is None:
        raise _unknown("loadBalancingPolicy", [str(named)])
    return policy


def _unknown(where: str, names: Sequence[str]) -> ServiceConfigError:
    given = ", ".join(map(repr, names)) or "nothing"
    return ServiceConfigError(
        f"{where} names no known policy but {given}. Known: {', '.join(sorted(POLICIES))}"
    )


def _methods(entries: object) -> dict[str, MethodConfig]:
    methods: dict[str, MethodConfig] = {}
    for entry in _list(entries, "methodConfig"):
        if not isinstance(entry, Mapping):
            raise ServiceConfigError(f"methodConfig: {entry!r} is not an object")
        wait_for_ready = entry.get("waitForReady")
        if not isinstance(wait_for_ready, bool | None):
            raise ServiceConfigError("methodConfig: waitForReady is neither true nor false")
        method = MethodConfig(wait_for_ready, _duration("timeout", entry.get("timeout")))
        if entry.get("retryPolicy") is not None:
            _check_retry(entry["retryPolicy"])
        for name in _list(entry.get("name", []), "methodConfig.name"):
            if not isinstance(name, Mapping):
                raise ServiceConfigError(f"methodConfig: the name {name!r} is not an object")
            if name.get("method") and not name.get("service"):
                raise ServiceConfigError(f"methodConfig: the name {name!r} has no service")
            key = f"{name.get('service') or ''}/{name.get('method') or ''}"
            if key in methods:
                raise ServiceConfigError(f"methodConfig: two entries for {key!r}")
            methods[key] = method
    return methods


def _forwarded(config: Mapping[str, object]) -> str:
    """Return what is left to C-core, checked: what that can't read fails every RPC."""
    parts: dict[str, object] = {}
    # An entry without a field of C-core's stays: it hides those of less exact entries.
    entries = [
        {key: value for key, value in entry.items() if key not in _OURS_IN_METHOD - {"name"}}
        for entry in _list(config.get("methodConfig", []), "methodConfig")
        if isinstance(entry, Mapping)
    ]
    if any(entry.keys() - _OURS_IN_METHOD for entry in entries):
        parts["methodConfig"] = entries
    throttling = config.get("retryThrottling")
    if throttling is not None:
        if not isinstance(throttling, Mapping):
            raise ServiceConfigError("retryThrottling is not an object")
        if not 0 < _number("retryThrottling", throttling, "maxTokens") <= 1000:
            raise ServiceConfigError("retryThrottling: maxTokens is not above 0 and at most 1000")
        if _number("retryThrottling", throttling, "tokenRatio") <= 0:
            raise ServiceConfigError("retryThrottling: tokenRatio is not above 0")
        parts["retryThrottling"] = throttling
    return json.dumps(parts) if parts else ""


def _check_retry(policy: object) -> None:
    if not isinstance(policy, Mapping):
        raise ServiceConfigError("retryPolicy is not an object")
    attempts = _number("retryPolicy", policy, "maxAttempts")
    if attempts < 2 or attempts != int(attempts):
        raise ServiceConfigError("retryPolicy: maxAttempts is not a whole number from 2")
    if _number("retryPolicy", policy, "backoffMultiplier") <= 0:
        raise ServiceConfigError("retryPolicy: backoffMultiplier is not above 0")
    for field_name in ("initialBackoff", "maxBackoff"):
        if not _duration(f"retryPolicy.{field_name}", policy.get(field_name)):
            raise ServiceConfigError(f"retryPolicy: {field_name} is not above 0")
    codes = _list(policy.get("retryableStatusCodes", []), "retryableStatusCodes")
    unknown = [code for code in codes if code not in _CODES]
    if unknown or not codes:
        raise ServiceConfigError(f"retryPolicy: retryableStatusCodes {codes!r} are not codes")


def _number(where: str, fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ServiceConfigError(f"{where}: {name} {value!r} is not a number")
    return value


def _duration(where: str, text: object) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ServiceConfigError(f"methodConfig: {where} {text!r} is not of the form '1.5s'")
    return float(match[1])


def _list(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise ServiceConfigError(f"{where} is not a list")
    return value
