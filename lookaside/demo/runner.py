"""The steps of the demo, and the tables that it prints."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import yaml

import client_resolver
from lookaside.demo._pb import greeter_pb2 as pb
from lookaside.demo.processes import backend, service

SERVICE = "greeter"
WORKERS = 16
REQUESTS = 2_000
_TIMEOUT_SECONDS = 10.0

Print = Callable[[str], None]


class Traffic:
    """Requests that run all the time, and who answered them.

    Attributes:
        failed: The errors of those that were not answered.
        answered: How many were answered, by backend, since `count` began.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.failed: list[str] = []
        self.answered: Counter[str] = Counter()
        self._call = channel.unary_unary(
            "/greeter.Greeter/SayHello",
            request_serializer=pb.HelloRequest.SerializeToString,
            response_deserializer=pb.HelloReply.FromString,
        )
        self._reply = asyncio.Condition()

    async def worker(self) -> None:
        """Send one request after the other until cancelled."""
        while True:
            try:
                reply = await self._call(pb.HelloRequest(name="demo"), timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                self.failed.append(str(error))
                await asyncio.sleep(0.01)
            else:
                self.answered[reply.backend] += 1
            async with self._reply:
                self._reply.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until what the replies make true is true."""
        async with self._reply:
            await self._reply.wait_for(reached)

    async def count(self) -> Counter[str]:
        """Count the next `REQUESTS` answers by backend."""
        self.answered.clear()
        failed = len(self.failed)
        await self.until(lambda: self.answered.total() + len(self.failed) - failed >= REQUESTS)
        return self.answered.copy()


async def demo(echo: Print, *, hold: bool = False) -> bool:
    """Run it all once.

    Args:
        echo: Prints a line.
        hold: Leave everything running after the tables, until cancelled.

    Returns:
        Whether no request failed and every backend got its share.

    Raises:
        DemoError: A process did not start.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lookaside-demo-"))
        endpoints = Path(folder, "endpoints.yaml")
        taken = contextlib.AsyncExitStack()
        await stack.enter_async_context(taken)
        leaving = await taken.enter_async_context(backend())
        first, small, arriving = await asyncio.gather(
            *(stack.enter_async_context(backend()) for _ in range(3))
        )
        weights = {first: 100, leaving: 100, small: 50}
        _write(endpoints, weights)
        address = await stack.enter_async_context(service(endpoints))
        echo(f"service    {address}, reading {endpoints}")
        channel = await stack.enter_async_context(
            client_resolver.aio.insecure_channel(f"lookaside://{address}/{SERVICE}")
        )
        traffic = Traffic(channel)
        workers = [asyncio.create_task(traffic.worker()) for _ in range(WORKERS)]
        stack.callback(lambda: [worker.cancel() for worker in workers])
        echo(f"client     {WORKERS} requests at a time to lookaside://{address}/{SERVICE}")

        await traffic.until(lambda: weights.keys() <= traffic.answered.keys())
        good = _table(echo, "three backends", weights, await traffic.count())

        echo(f"change     {leaving} is taken away, {arriving} is added; requests go on")
        weights = {first: 100, small: 50, arriving: 100}
        _write(endpoints, weights)
        await traffic.until(lambda: arriving in traffic.answered)
        await taken.aclose()
        good &= _table(echo, "after the change", weights, await traffic.count())

        for error in sorted(set(traffic.failed)):
            echo(f"error      {error}")
        echo(f"{len(traffic.failed)} failed")
        if hold:
            echo(f"try        lookaside get {SERVICE} --address {address}   (Ctrl-C ends it all)")
            await asyncio.Event().wait()
        return good and not traffic.failed


def _write(path: Path, weights: Mapping[str, int]) -> None:
    endpoints = [{"address": address, "weight": weight} for address, weight in weights.items()]
    draft = path.with_suffix(".new")
    draft.write_text(yaml.safe_dump({"services": {SERVICE: {"endpoints": endpoints}}}))
    draft.replace(path)


def _table(
    echo: Print, title: str, weights: Mapping[str, int], answered: Mapping[str, int]
) -> bool:
    """Print who answered beside the expected share; whether they agree.

    What is in flight when the count begins and ends may be counted in or not.
    """
    total, whole = sum(answered.values()), sum(weights.values())
    tolerance = WORKERS + len(weights)
    good = True
    echo(f"\n{title:<22} {'weight':>6} {'requests':>8} {'share':>7} {'expected':>8}")
    for address in sorted(weights.keys() | answered.keys()):
        weight, requests = weights.get(address, 0), answered.get(address, 0)
        expected = weight / whole
        good &= abs(requests - expected * total) <= tolerance
        echo(f"{address:<22} {weight:>6} {requests:>8} {requests / total:>7.1%} {expected:>8.1%}")
    echo("")
    return good
