"""Strategy 3: a balancer lists the backends, the client picks one per request.

To run it: `python -m examples.strategy_3_lookaside.client lookaside://HOST:50052/greeter`
"""

import sys
import tempfile
from pathlib import Path

import client_resolver
from examples.greeter.traffic import greet, plan
from examples.greeter.usage import checked_target

TARGET = "lookaside://lookaside.lookaside:50052/greeter.grpc-services"
LAST_LIST = Path(tempfile.gettempdir(), "greeter-backends.json")


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    wanted = plan("Greet the backends that a balancer lists.", TARGET)
    # The policy, retries and limits come with the list, from the Service's annotation. The file has
    # the client start while no balancer can be reached.
    with client_resolver.insecure_channel(wanted.target, snapshot_path=LAST_LIST) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    with checked_target():
        sys.exit(main())
