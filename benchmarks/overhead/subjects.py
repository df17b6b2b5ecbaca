"""What is compared: each subject is a way to make a channel to the same backends."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

import client_resolver
from client_resolver.metrics import Prometheus

__all__ = ["CONTROL", "PLAIN", "SIDECAR", "Subject", "subjects"]

PLAIN = "plain channel, one backend"
CONTROL = "the same once more"
SIDECAR = "Envoy as a sidecar"

Subject = Callable[[], Any]
"""Makes the channel."""

_POLICIES: Mapping[str, Mapping[str, object]] = {
    "pick_first": {},
    "round_robin": {},
    "weighted_round_robin": {},
    "random": {},
    "least_request": {},
    "ring_hash": {},
    "maglev": {},
    "peak_ewma": {},
}
_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
_OUTLIERS = {"outlierDetection": {"consecutiveErrors": 5, "successRateEjection": {}}}


def subjects(shell: str, backends: Sequence[str], sidecar: int) -> dict[str, Subject]:
    """Name what is compared.

    Args:
        shell: `sync` or `aio`.
        backends: Their addresses, `IP:PORT`.
        sidecar: The port of Envoy's listener for these backends.
    """
    plain = grpc.insecure_channel if shell == "sync" else grpc.aio.insecure_channel
    ours = client_resolver if shell == "sync" else client_resolver.aio
    target = f"static:///{','.join(backends)}"

    def of_grpc(target: str, **config: object) -> Subject:
        # Equal channels would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        if config:
            options.append(("grpc.service_config", json.dumps(config)))  # type: ignore[arg-type]
        return lambda: plain(target, options)

    def of_ours(config: Mapping[str, object], *, metrics: bool = False) -> Subject:
        def make() -> Any:  # noqa: ANN401
            observers = [Prometheus(CollectorRegistry())] if metrics else []
            return ours.insecure_channel(target, service_config=config, observers=observers)

        return make

    everything = {**_RETRIES, **_OUTLIERS}
    return {
        PLAIN: of_grpc(f"ipv4:{backends[0]}"),
        CONTROL: of_grpc(f"ipv4:{backends[0]}"),
        "C-core's round_robin": of_grpc(
            f"ipv4:{','.join(backends)}", loadBalancingPolicy="round_robin"
        ),
        "defaults": of_ours({}),
        **{
            name: of_ours({"loadBalancingConfig": [{name: config}]})
            for name, config in _POLICIES.items()
        },
        "defaults, retries": of_ours(_RETRIES),
        "defaults, outlier detection": of_ours(_OUTLIERS),
        "defaults, metrics": of_ours({}, metrics=True),
        "defaults, all three": of_ours(everything, metrics=True),
        SIDECAR: of_grpc(f"ipv4:127.0.0.1:{sidecar}"),
    }
