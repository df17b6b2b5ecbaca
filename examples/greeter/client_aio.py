"""The client for asyncio: ten greetings at a time.

To run it: `python -m examples.greeter.client_aio lookaside://localhost:50052/greeter.grpc-services`
"""

import asyncio
import sys
from collections import Counter

import grpc

from client_resolver import aio
from examples.greeter._pb.greeter_pb2 import HelloReply, HelloRequest
from examples.greeter._pb.greeter_pb2_grpc import GreeterStub
from examples.greeter.traffic import Plan, plan, show
from examples.greeter.usage import checked_target

_AT_A_TIME = 10


async def greet(channel: grpc.aio.Channel, wanted: Plan) -> None:
    """Greet as planned, and print after each round who has answered how often.

    Raises:
        grpc.aio.AioRpcError: A request failed.
    """
    stub = GreeterStub(channel)
    places = asyncio.Semaphore(_AT_A_TIME)
    answered: Counter[str] = Counter()

    async def one() -> None:
        async with places:
            reply: HelloReply = await stub.SayHello(
                HelloRequest(name="World"), timeout=wanted.timeout, wait_for_ready=True
            )
            answered[reply.backend] += 1
            await asyncio.sleep(wanted.pause)

    for _ in wanted.numbers():
        answered.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(wanted.requests):
                group.create_task(one())
        show(answered)


async def main() -> None:
    """Greet until done, or until the first failure."""
    wanted = plan("Greet, and count who answers.", "lookaside:///greeter.grpc-services")
    async with aio.insecure_channel(wanted.target) as channel:
        await greet(channel, wanted)


if __name__ == "__main__":
    try:
        with checked_target():
            asyncio.run(main())
    except* grpc.aio.AioRpcError as failed:
        errors = (one for one in failed.exceptions if isinstance(one, grpc.RpcError))
        sys.exit("\n".join({f"failed: {error.details()}" for error in errors}))
