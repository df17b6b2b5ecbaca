"""Strategy 1: the backends are the addresses of a headless Service's name.

To run it: `python -m examples.strategy_1_headless_dns.client dns:///localhost:50051`
"""

import sys

import client_resolver
from examples.greeter.traffic import greet, plan
from examples.greeter.usage import checked_target

TARGET = "dns:///grpc-backend-headless.grpc-services.svc.cluster.local:50051"
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {
            "name": [{"service": "greeter.Greeter"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    wanted = plan("Greet the addresses of a name.", TARGET)
    with client_resolver.insecure_channel(
        wanted.target, service_config=SERVICE_CONFIG, keepalive=(10, 5), refresh_interval=5
    ) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    with checked_target():
        sys.exit(main())
