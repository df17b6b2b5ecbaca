"""A plain gRPC channel that gets its backends from Lookaside by the `grpclb` policy.

Nothing but grpcio is needed. Run it in a Pod of the cluster:

    python client.py dns:///lookaside-headless.lookaside:50053 greeter.grpc-services
"""

import json
import sys

import grpc


def channel(target: str, service: str) -> grpc.Channel:
    """Return a channel to a service.

    Args:
        target: The balancer's name in DNS, whose SRV record `_grpclb._tcp.NAME` says where it
            listens.
        service: The service as Lookaside names it: NAME[.NAMESPACE][:PORT].
    """
    config = {"loadBalancingConfig": [{"grpclb": {"serviceName": service}}]}
    return grpc.insecure_channel(
        target,
        options=[
            ("grpc.dns_enable_srv_queries", 1),
            ("grpc.service_config", json.dumps(config)),
            # Else a config in DNS, or its absence, would take the place of this one.
            ("grpc.service_config_disable_resolution", 1),
        ],
    )


def main() -> None:
    """Say hello by a method that any gRPC server with health checks has."""
    target, service = sys.argv[1:]
    with channel(target, service) as connected:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = connected.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        answer = check(b"", timeout=10, wait_for_ready=True)
    print(f"answered with {len(answer)} bytes")


if __name__ == "__main__":
    main()
