"""What every client here does: greet, count who answers, and say so."""

import argparse
import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import grpc

from examples.greeter._pb.greeter_pb2 import HelloReply, HelloRequest
from examples.greeter._pb.greeter_pb2_grpc import GreeterStub


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to greet.

    Attributes:
        target: The channel's target.
        requests: How many requests a round has.
        rounds: How many rounds; 0 for no end.
        pause: Seconds between two requests.
        timeout: Seconds that a request may take, and the wait for connections.
    """

    target: str
    requests: int
    rounds: int
    pause: float
    timeout: float

    def numbers(self) -> "itertools.count[int] | range":
        """Return the numbers of the rounds."""
        return range(self.rounds) if self.rounds else itertools.count()


def plan(description: str, target: str) -> Plan:
    """Read the arguments of a client, and have SIGTERM end it, as process 1 of a container too.

    Args:
        description: What the client shows.
        target: The target where none is given.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("target", nargs="?", default=target)
    parser.add_argument("--requests", type=int, default=100, help="requests of a round")
    parser.add_argument("--rounds", type=int, default=1, help="0 for no end")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests")
    parser.add_argument(
        "--timeout", type=float, default=5.0, help="seconds that a request may take"
    )
    signal.signal(signal.SIGTERM, _end)
    return Plan(**vars(parser.parse_args()))


def greet(channel: grpc.Channel, wanted: Plan) -> bool:
    """Greet as planned, and print after each round who has answered how often.

    Returns:
        Whether no request failed.
    """
    stub = GreeterStub(channel)
    good = True
    for _ in wanted.numbers():
        answered: Counter[str] = Counter()
        for _ in range(wanted.requests):
            try:
                reply: HelloReply = stub.SayHello(
                    HelloRequest(name="World"), timeout=wanted.timeout, wait_for_ready=True
                )
            except grpc.RpcError as error:
                good = False
                print(f"failed: {error.details()}", file=sys.stderr, flush=True)
            else:
                answered[reply.backend] += 1
            time.sleep(wanted.pause)
        show(answered)
    return good


def show(answered: Mapping[str, int]) -> None:
    """Print who has answered how often."""
    print(f"{sum(answered.values())} answers")
    for backend, number in sorted(answered.items()):
        print(f"  {backend:<24} {number:>6}", flush=True)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
