"""A client: 100 greetings, each to the backend whose turn it is.

To run it: `python -m examples.greeter.client lookaside://localhost:50052/greeter.grpc-services`
"""

import sys

import client_resolver
from examples.greeter.traffic import greet, plan
from examples.greeter.usage import checked_target


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    wanted = plan("Greet, and count who answers.", "lookaside:///greeter.grpc-services")
    with client_resolver.insecure_channel(wanted.target) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    with checked_target():
        sys.exit(main())
