"""The `methodConfig` of a gRPC service config: what applies to each method."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from client_resolver.core import fields
from client_resolver.core.hedging import HedgingPolicy
from client_resolver.core.retry import MAX_ATTEMPTS, RetryPolicy

__all__ = ["MethodConfig", "parse_forwarded_methods", "parse_methods"]

_logger = logging.getLogger("client_resolver")

_FORWARDED = ("maxRequestMessageBytes", "maxResponseMessageBytes")


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """The method config of one method.

    Attributes:
        wait_for_ready: What an RPC does that doesn't say so itself. None: it fails fast.
        timeout: The longest that an RPC may take, in seconds. None: as the RPC says.
        retry: When a failed attempt is followed by another. None: never.
        hedging: When an attempt is joined by another. None: never. At most one of both is set.
    """

    wait_for_ready: bool | None = None
    timeout: float | None = None
    retry: RetryPolicy | None = None
    hedging: HedgingPolicy | None = None

    def bounded(self, timeout: float | None) -> float | None:
        """Return the shorter of an RPC's own timeout and the method's, in seconds."""
        if timeout is None or self.timeout is None:
            return self.timeout if timeout is None else timeout
        return min(timeout, self.timeout)


def parse_methods(config: Mapping[str, object]) -> dict[str, MethodConfig]:
    """Read the field `methodConfig` of a service config.

    Returns:
        By `service/method`, by `service/` and by `/` for all: what applies there.

    Raises:
        ValueError: It is malformed; the text names the field, the value and what is allowed.
    """
    methods: dict[str, MethodConfig] = {}
    capped: list[str] = []
    for where, entry in _entries(config):
        with fields.inside(where):
            method = _method(entry)
            for key in _keys(entry):
                if key in methods:
                    raise ValueError(f"name has {key!r}, as an entry before it has")
                methods[key] = method
            capped += [f"{where}.{name}" for name in _above_cap(entry)]
    if capped:
        _logger.warning(
            "service config: %s is above %d, the most that gRPC allows, which holds instead",
            ", ".join(capped),
            MAX_ATTEMPTS,
        )
    return methods


def parse_forwarded_methods(config: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the part of `methodConfig` that C-core carries out: the limits of message sizes.

    Raises:
        ValueError: It is malformed; the text names the field, the value and what is allowed.
    """
    forwarded: list[dict[str, object]] = []
    for where, entry in _entries(config):
        with fields.inside(where):
            limits = {name: fields.whole(entry, name, None) for name in _FORWARDED}
            given = {name: limit for name, limit in limits.items() if limit is not None}
            forwarded.append({"name": fields.listed(entry, "name", []), **given})
    # An entry without such a limit stays: it hides those of less exact entries.
    return forwarded if any(len(entry) > 1 for entry in forwarded) else []


def _entries(config: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Give each entry with its name for messages."""
    for place, entry in enumerate(_objects(config, "methodConfig")):
        yield f"methodConfig[{place}]", entry


def _keys(entry: Mapping[str, object]) -> Iterator[str]:
    for name in _objects(entry, "name"):
        with fields.inside("name"):
            service, method = fields.text(name, "service", ""), fields.text(name, "method", "")
            if method and not service:
                raise ValueError(f"method is {method!r} without a service: both are wanted")
        yield f"{service}/{method}"


def _objects(config: Mapping[str, object], name: str) -> Iterator[Mapping[str, object]]:
    for item in fields.listed(config, name, []):
        if not isinstance(item, Mapping):
            raise ValueError(f"{name} has {item!r}: objects are wanted")  # noqa: TRY004
        yield item


def _method(entry: Mapping[str, object]) -> MethodConfig:
    retry = hedging = None
    given = fields.object_in(entry, "retryPolicy")
    if given is not None:
        with fields.inside("retryPolicy"):
            retry = RetryPolicy.parse(given)
    given = fields.object_in(entry, "hedgingPolicy")
    if given is not None:
        with fields.inside("hedgingPolicy"):
            hedging = HedgingPolicy.parse(given)
    if retry is not None and hedging is not None:
        raise ValueError("retryPolicy and hedgingPolicy are both there: one of them is allowed")
    return MethodConfig(
        wait_for_ready=fields.flag(entry, "waitForReady", None),
        timeout=fields.duration(entry, "timeout", None),
        retry=retry,
        hedging=hedging,
    )


def _above_cap(entry: Mapping[str, object]) -> Iterator[str]:
    for name in ("retryPolicy", "hedgingPolicy"):
        policy = fields.object_in(entry, name)
        if policy is not None and fields.whole(policy, "maxAttempts", 0) > MAX_ATTEMPTS:
            yield f"{name}.maxAttempts"
