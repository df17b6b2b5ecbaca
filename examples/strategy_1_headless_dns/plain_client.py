"""Strategy 1 with nothing but gRPC: the article's client.

To run it: `python -m examples.strategy_1_headless_dns.plain_client dns:///localhost:50051`
"""

import json
import sys

import grpc

from examples.greeter.traffic import greet, plan
from examples.strategy_1_headless_dns.client import SERVICE_CONFIG, TARGET

# gRPC asks DNS again only when a connection breaks, and then at most every 30 s: backends that
# arrive get requests once `--max-connection-age` of the server has ended one.
OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
]


def main() -> int:
    """Greet; the exit code is 1 if a request failed."""
    wanted = plan("Greet the addresses of a name, by gRPC's own means.", TARGET)
    with grpc.insecure_channel(wanted.target, OPTIONS) as channel:
        return int(not greet(channel, wanted))


if __name__ == "__main__":
    sys.exit(main())
