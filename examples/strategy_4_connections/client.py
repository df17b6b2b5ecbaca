"""Strategy 4: fixed backends, several connections to each, kept alive by pings.

To run it: `python -m examples.strategy_4_connections.client static:///127.0.0.1:50061,127.0.0.1:50062`
"""

import sys

import client_resolver
from examples.greeter.traffic import greet, plan
from examples.greeter.usage import checked_target

TARGET = "static:///" + ",".join(
    f"grpc-backend-{number}.grpc-backend.grpc-services.svc.cluster.local:50051"
    for number in range(3)
)


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    wanted = plan("Greet fixed backends over several connections each.", TARGET)
    with client_resolver.insecure_channel(
        wanted.target,
        policy="least_request",
        connections_per_backend=2,
        keepalive=(10, 5),
        service_config={"healthCheckConfig": {"serviceName": ""}},
    ) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    with checked_target():
        sys.exit(main())
