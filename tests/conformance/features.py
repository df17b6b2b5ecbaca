"""Everything that a channel can be told, as one feature each: the rows of the matrix of calls."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from client_resolver import Observer, testing
from client_resolver.core.pickers import POLICIES
from client_resolver.telemetry.dispatch import overriding
from tests.conformance.fleet import RETRY, SERVICE, for_all, policy

Keywords: TypeAlias = Mapping[str, Any]


class Channels:
    """What a channel of the matrix is made with: `backends`, listed in each way there is."""

    def __init__(self, backends: testing.Backends, lister: testing.Balancer, folder: Path) -> None:
        self.backends = backends
        self.lister = lister
        self.folder = folder
        lister.serve(SERVICE, backends, zones=["here"] * len(backends))

    @property
    def listed(self) -> Keywords:
        """The balancer's list."""
        return {"target": self.lister.target(SERVICE)}


class Telling(Observer):
    """Overrides every method."""


def _told(self: Observer, *_: object) -> None:
    return


for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Telling, _name, _told)

assert all(
    overriding([Telling()], getattr(Observer, name))
    for name in vars(Observer)
    if not name.startswith("_")
)

HEDGING = {"maxAttempts": 2, "hedgingDelay": "20s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
RETRYING = for_all(retryPolicy=RETRY)
LAZY = {"connect": "lazy"}

KEYWORDS: Mapping[str, Callable[[Channels], Keywords]] = {
    "service_config": lambda _: {"service_config": {}},
    "policy": lambda _: {"policy": "random"},
    "policies": lambda _: {"policies": {"own": POLICIES["round_robin"]}, "policy": "own"},
    "max_table_size": lambda _: {"max_table_size": 1021, "policy": "maglev"},
    "hash_key": lambda _: {"hash_key": lambda *_: "key", "policy": "ring_hash"},
    "connect": lambda _: LAZY,
    "idle_timeout": lambda _: {**LAZY, "idle_timeout": 20.0},
    "connections_per_backend": lambda _: {"connections_per_backend": 2},
    "keepalive": lambda _: {"keepalive": (20.0, 20.0)},
    "dial": lambda _: {"dial": lambda _endpoint: None},
    "drain_timeout": lambda _: {"drain_timeout": 20.0},
    "subset_size": lambda _: {"subset_size": 1},
    "client_id": lambda of: {**of.listed, "client_id": "me"},
    "zone": lambda of: {**of.listed, "zone": "here"},
    "node": lambda of: {**of.listed, "node": "this"},
    "balancer_credentials": lambda of: {
        **of.listed,
        "balancer_credentials": grpc.local_channel_credentials(),
    },
    "balancer_options": lambda of: {
        **of.listed,
        "balancer_options": (("grpc.keepalive_time_ms", 20_000),),
    },
    "balancer_token": lambda of: {
        **of.listed,
        "balancer_credentials": grpc.local_channel_credentials(),
        "balancer_token": "token",
    },
    "insecure_balancer_token": lambda of: {
        **of.listed,
        "balancer_token": "token",
        "insecure_balancer_token": True,
    },
    "watch_backoff": lambda of: {**of.listed, "watch_backoff": (0.01, 0.05)},
    "older_revision_hold": lambda of: {**of.listed, "older_revision_hold": 1.0},
    "fallback": lambda of: {**of.listed, "fallback": of.backends.target},
    "snapshot_path": lambda of: {**of.listed, "snapshot_path": of.folder / "list.json"},
    "resolvers": lambda of: {
        "target": "own:///greeter",
        "resolvers": {"own": lambda _target: [one.address for one in of.backends]},
    },
    "refresh_interval": lambda of: {
        "target": f"dns:///{of.backends[0].address}",
        "refresh_interval": 20.0,
    },
    "observers": lambda _: {"observers": [Telling()]},
}
"""Of each keyword of a channel: what it is told with it, its target if that isn't static."""

METHOD_CONFIGS: Mapping[str, Mapping[str, object]] = {
    "name": for_all(),
    "timeout": for_all(timeout="20s"),
    "waitForReady": for_all(waitForReady=True),
    "retryPolicy": RETRYING,
    "hedgingPolicy": for_all(hedgingPolicy=HEDGING),
    "maxRequestMessageBytes": for_all(maxRequestMessageBytes=1000),
    "maxResponseMessageBytes": for_all(maxResponseMessageBytes=1000),
}
"""Of each field of a `methodConfig`: a service config with it."""

SERVICE_CONFIGS: Mapping[str, Mapping[str, object]] = {
    "loadBalancingConfig": policy("round_robin"),
    "loadBalancingPolicy": {"loadBalancingPolicy": "random"},
    "methodConfig": RETRYING,
    "retryThrottling": {**RETRYING, "retryThrottling": {"maxTokens": 10, "tokenRatio": 1}},
    "healthCheckConfig": {"healthCheckConfig": {"serviceName": ""}},
    "outlierDetection": {"outlierDetection": {"consecutiveErrors": 100}},
    "slowStart": {"slowStart": {"window": "20s"}},
    "circuitBreaker": {
        "circuitBreaker": {"maxRequests": 100, "maxPendingRequests": 100, "maxRetries": 100}
    },
    "panicThreshold": {"panicThreshold": 50},
    "localityPriorities": {"localityPriorities": {"levels": ["zone"]}},
}
"""Of each field of a service config: one with it."""

TOGETHER: Mapping[str, Keywords] = {
    "retries with a limit for each attempt": {
        "service_config": for_all(retryPolicy={**RETRY, "perAttemptRecvTimeout": "20s"}),
    },
    "retries, observed, lazy, on several connections": {
        **LAZY,
        "connections_per_backend": 2,
        "observers": [Telling()],
        "service_config": {
            **RETRYING,
            **SERVICE_CONFIGS["outlierDetection"],
            **SERVICE_CONFIGS["circuitBreaker"],
        },
    },
    "hedging, observed, lazy, on several connections": {
        **LAZY,
        "connections_per_backend": 2,
        "observers": [Telling()],
        "service_config": {
            **METHOD_CONFIGS["hedgingPolicy"],
            **SERVICE_CONFIGS["outlierDetection"],
            **SERVICE_CONFIGS["circuitBreaker"],
        },
    },
    "grpc's own arguments": {
        "options": (("grpc.keepalive_time_ms", 20_000),),
        "compression": grpc.Compression.Gzip,
    },
}
"""What goes together, or isn't one of the above."""

FEATURES: Mapping[str, Callable[[Channels], Keywords]] = {
    "nothing": lambda _: {},
    **KEYWORDS,
    **{
        f"policy {name}": lambda _, name=name: {"policy": name}  # type: ignore[misc]
        for name in POLICIES
    },
    **{
        f"service config {name}": lambda of, given=given: {  # type: ignore[misc]
            **of.listed,
            "zone": "here",
            "service_config": given,
        }
        for name, given in {**METHOD_CONFIGS, **SERVICE_CONFIGS}.items()
    },
    **{name: lambda _, given=given: given for name, given in TOGETHER.items()},  # type: ignore[misc]
}
"""All of them. A keyword, a field or a policy that is missing here fails a test of the matrix."""
