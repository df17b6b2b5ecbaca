"""The paths of RPCs: what a method's RPCs need beyond a pick."""

from client_resolver.config.service_config import MethodConfig, ServiceConfig
from client_resolver.config.settings import Settings
from client_resolver.telemetry.dispatch import overriding
from client_resolver.telemetry.observer import Observer

__all__ = ["is_light", "is_plain"]


def is_plain(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether RPCs of a method need nothing but a pick: no `Rpc` is to be made for them."""
    return not (
        _is_involved(settings, config, method)
        or settings.observers
        or (config.outlier is not None and config.outlier.counts)
        or config.policy.keyed
        or config.policy.measured
        or method.timeout is not None
        or method.retry is not None
    )


def is_light(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether RPCs of a method need no `Rpc` unless their first attempt fails.

    What comes of them is told to `Rpcs.succeeded`, or to an `Rpc` that is made then.
    """
    retry = method.retry
    begins = overriding(settings.observers, Observer.rpc_started)
    attempts = overriding(settings.observers, Observer.attempt_started)
    return not (
        _is_involved(settings, config, method)
        or begins
        or attempts
        or (retry is not None and retry.per_attempt_timeout is not None)
    )


def _is_involved(settings: Settings, config: ServiceConfig, method: MethodConfig) -> bool:
    """Whether an RPC must be examined before it is sent to a backend."""
    policy = config.policy
    return bool(
        settings.lazy
        or settings.connections_per_backend > 1
        or policy.load_reports
        or config.limits.bounds_rpcs
        or method.hedging is not None
    )
