"""Strategy 2: a plain channel to the Envoy beside the client, which picks a backend per request.

To run it: `python -m examples.strategy_2_envoy_sidecar.client localhost:50051`
"""

import os
import sys

import grpc

from examples.greeter.traffic import greet, plan


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    address = os.environ.get("GRPC_SERVER_ADDRESS", "localhost:50051")
    wanted = plan("Greet through a sidecar.", address)
    with grpc.insecure_channel(wanted.target) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    sys.exit(main())
