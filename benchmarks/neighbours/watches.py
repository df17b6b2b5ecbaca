"""A process that holds watches of the large Service, and says how many messages they got."""

import asyncio
import sys

import grpc
import uvloop
from google.protobuf.message import Message

from lookaside._pb import lookaside_pb2 as pb

_METHOD = "/lookaside.LoadBalancer/WatchServers"
_UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


class _Count:
    def __init__(self, watches: int) -> None:
        self.messages = 0
        self._first = watches

    def first(self) -> None:
        self._first -= 1
        if not self._first:
            print("ready", flush=True)


async def _watch(port: int, number: int, subset: int, count: _Count) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_UNBOUNDED) as channel:
        call: grpc.aio.UnaryStreamCall[Message, bytes] = channel.unary_stream(
            _METHOD, pb.WatchServersRequest.SerializeToString, bytes
        )(
            pb.WatchServersRequest(
                service_name="large.large",
                subset_size=subset,
                client=pb.Client(id=f"client-{number}"),
            )
        )
        first = True
        async for _ in call:
            count.messages += 1
            if first:
                first = False
                count.first()


async def _run(port: int, watches: int, subset: int) -> None:
    count = _Count(watches)
    tasks = [asyncio.create_task(_watch(port, n, subset, count)) for n in range(watches)]
    while await asyncio.to_thread(sys.stdin.readline):
        print(count.messages, flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(*map(int, sys.argv[1:])))
