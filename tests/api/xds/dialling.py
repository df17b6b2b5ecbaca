"""A program that dials as any user of grpcio does: `python -m tests.api.xds.dialling`.

What it is to do comes as lines of JSON, and so goes what came of it. The bootstrap of xDS is read
once in a process, from the environment, so tests have a process of their own for a client.
"""

import asyncio
import json
import sys
import threading
from collections import Counter

import grpc

METHOD = "/greeter.Greeter/SayHello"
IN_FLIGHT = 32
TIMEOUT = 30.0


class Outcome:
    """What came of some requests: each answer says by which backend and which connection."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.connections: set[str] = set()
        self.errors: Counter[str] = Counter()

    def take(self, answer: bytes) -> None:
        backend, _, _ = answer.decode().partition(" ")
        self.answers[backend] += 1
        self.connections.add(answer.decode())

    def fail(self, error: grpc.RpcError) -> None:
        assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)
        self.errors[f"{error.code().name}: {error.details()}"] += 1

    def document(self) -> dict[str, object]:
        connections = sorted(self.connections)
        return {"answers": self.answers, "errors": self.errors, "connections": connections}


class Sync:
    """A channel of grpc."""

    def __init__(self, target: str) -> None:
        self._method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc.insecure_channel(
            target
        ).unary_unary(METHOD)
        self._stopping = threading.Event()
        self._going = Outcome()
        self._thread: threading.Thread | None = None

    def call(self, requests: int, *, wait: bool) -> Outcome:
        outcome = Outcome()
        for start in range(0, requests, IN_FLIGHT):
            number = min(IN_FLIGHT, requests - start)
            futures = [
                self._method.future(b"", timeout=TIMEOUT, wait_for_ready=wait)
                for _ in range(number)
            ]
            for future in futures:
                try:
                    outcome.take(future.result())
                except grpc.RpcError as error:
                    outcome.fail(error)
        return outcome

    def begin(self) -> None:
        """Go on calling until told to stop."""

        def go_on() -> None:
            while not self._stopping.wait(0.002):
                try:
                    self._going.take(self._method(b"", timeout=TIMEOUT))
                except grpc.RpcError as error:
                    self._going.fail(error)

        self._thread = threading.Thread(target=go_on)
        self._thread.start()

    def end(self) -> Outcome:
        """Stop, and return what came of all calls."""
        assert self._thread is not None
        self._stopping.set()
        self._thread.join()
        return self._going


class Aio:
    """A channel of grpc.aio, on a loop of its own thread."""

    def __init__(self, target: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        opening = asyncio.run_coroutine_threadsafe(self._open(target), self._loop)
        self._channel: grpc.aio.Channel = opening.result()

    async def _open(self, target: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(target)

    def call(self, requests: int, *, wait: bool) -> Outcome:
        calling = self._calling(requests, wait=wait)
        return asyncio.run_coroutine_threadsafe(calling, self._loop).result()

    async def _calling(self, requests: int, *, wait: bool) -> Outcome:
        outcome = Outcome()
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)
        for _ in range(requests):
            try:
                outcome.take(await method(b"", timeout=TIMEOUT, wait_for_ready=wait))
            except grpc.aio.AioRpcError as error:
                outcome.fail(error)
        return outcome


def main() -> None:
    """Do what comes, until there is no more."""
    channels: dict[tuple[str, str], Sync | Aio] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = asked["shell"], asked["target"]
        if key not in channels:
            channels[key] = (Aio if asked["shell"] == "aio" else Sync)(asked["target"])
        channel = channels[key]
        answer: dict[str, object] = {}
        if asked["do"] == "call":
            answer = channel.call(asked["requests"], wait=asked["wait"]).document()
        elif asked["do"] == "begin" and isinstance(channel, Sync):
            channel.begin()
        elif asked["do"] == "end" and isinstance(channel, Sync):
            answer = channel.end().document()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
