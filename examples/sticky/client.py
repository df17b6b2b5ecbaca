"""Sticky sessions: all requests of a session go to one backend, while it is there.

To run it: `python -m examples.sticky.client lookaside://localhost:50052/greeter.grpc-services`
"""

import sys
import time
from collections import Counter

import grpc

import client_resolver
from client_resolver import Connectivity
from examples.greeter._pb.greeter_pb2 import HelloReply, HelloRequest
from examples.greeter._pb.greeter_pb2_grpc import GreeterStub
from examples.greeter.traffic import Plan, plan, show
from examples.greeter.usage import checked_target

SESSIONS = 10

# The Service's annotation may say the same for all clients: see kubernetes.yaml beside this.
POLICY = {"ring_hash": {"requestHashHeader": "session-id"}}


def main() -> int:
    """Greet in several sessions; the exit code is 1 if one of them met two backends in a round."""
    wanted = plan("Greet in ten sessions.", "lookaside:///greeter.grpc-services")
    with client_resolver.insecure_channel(wanted.target, policy=POLICY) as channel:
        _connect(channel, wanted.timeout)
        stub = GreeterStub(channel)
        moved = False
        for _ in wanted.numbers():
            moved |= _greet(stub, wanted)
    return int(moved)


def _greet(stub: GreeterStub, wanted: Plan) -> bool:
    """Greet one round, print whom each session met, and return whether one met two."""
    backends: dict[str, set[str]] = {}
    answered: Counter[str] = Counter()
    for number in range(wanted.requests):
        session = f"session-{number % SESSIONS}"
        reply: HelloReply = stub.SayHello(
            HelloRequest(name=session),
            timeout=wanted.timeout,
            metadata=[("session-id", session)],
            wait_for_ready=True,
        )
        backends.setdefault(session, set()).add(reply.backend)
        answered[reply.backend] += 1
        time.sleep(wanted.pause)
    for session, met in sorted(backends.items()):
        print(f"{session:<12} {', '.join(sorted(met))}")
    show(answered)
    return any(len(met) > 1 for met in backends.values())


def _connect(channel: client_resolver.Channel, timeout: float) -> None:
    """Wait until all backends are connected: those that are not yet get no sessions."""
    try:
        grpc.channel_ready_future(channel).result(timeout)
    except grpc.FutureTimeoutError:
        sys.exit("failed: no backend is ready")
    last = time.monotonic() + timeout
    while time.monotonic() < last and any(
        each.connectivity is not Connectivity.READY for each in channel.snapshot().backends
    ):
        time.sleep(0.01)


if __name__ == "__main__":
    try:
        with checked_target():
            sys.exit(main())
    except grpc.RpcError as failed:
        sys.exit(f"failed: {failed.details()}")
