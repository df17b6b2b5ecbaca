"""A backend whose handlers do as a test's script says."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator

import grpc

from client_resolver import testing

BOUND = 20.0
"""Seconds after which a test that waits for an event has failed."""

Step = Callable[[grpc.ServicerContext], None]


class Scripted:
    """Echoes, after the next step of its script.

    Attributes:
        script: What the next RPCs do before they are answered, one step each.
        metadata: What came with each RPC.
        release: Lets the steps made by `hold` go on.
    """

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.metadata: list[dict[str, str | bytes]] = []
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "UU": grpc.unary_unary_rpc_method_handler(self._one),
            "US": grpc.unary_stream_rpc_method_handler(self._many),
            "SU": grpc.stream_unary_rpc_method_handler(self._join),
            "SS": grpc.stream_stream_rpc_method_handler(self._echo),
        }
        served = (grpc.method_handlers_generic_handler("t.S", handlers),)
        self._backend = testing.Backend(lambda server: server.add_generic_rpc_handlers(served))

    @property
    def address(self) -> str:
        return self._backend.address

    def peers(self) -> Counter[str]:
        """How many RPCs came by each connection."""
        return Counter(one.peer for one in self._backend.received)

    @property
    def calls(self) -> int:
        return len(self.metadata)

    def stop(self) -> None:
        self.release.set()
        self._backend.stop()

    def hold(self, context: grpc.ServicerContext) -> None:
        """Wait until `release` is set."""
        self.entered.release()
        self.release.wait(BOUND)

    def _enter(self, context: grpc.ServicerContext) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.script:
            self.script.popleft()(context)

    def _one(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._enter(context)
        return request

    def _many(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._enter(context)
        for _ in range(3):
            yield request

    def _join(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        joined = b"".join(requests)
        self._enter(context)
        return joined

    def _echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for first in requests:
            self._enter(context)
            yield first
            break
        yield from requests


def fail(code: str, details: str = "scripted", pushback: str | None = None) -> Step:
    """Make a step that ends the RPC with a status."""

    def step(context: grpc.ServicerContext) -> None:
        if pushback is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
        context.abort(grpc.StatusCode[code], details)

    return step
