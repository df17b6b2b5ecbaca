"""A client of grpcio alone, without the companion package.

To run it: `GRPC_XDS_BOOTSTRAP=bootstrap.json python -m examples.xds.client xds:///greeter.grpc-services`
"""

import argparse
from collections import Counter

import grpc

from examples.greeter._pb.greeter_pb2 import HelloRequest
from examples.greeter._pb.greeter_pb2_grpc import GreeterStub


def main() -> None:
    """Greet, and print who has answered how often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", default="xds:///greeter.grpc-services")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--timeout", type=float, default=30.0, help="Seconds that a request has.")
    given = parser.parse_args()
    answered: Counter[str] = Counter()
    with grpc.insecure_channel(given.target) as channel:
        stub = GreeterStub(channel)
        for _ in range(given.requests):
            reply = stub.SayHello(HelloRequest(name="World"), timeout=given.timeout)
            answered[reply.backend] += 1
    for backend, count in sorted(answered.items()):
        print(f"  {backend} {count}")


if __name__ == "__main__":
    main()
