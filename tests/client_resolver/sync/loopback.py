"""Backends on loopback whose RPCs do what a test says, and channels to them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc

from client_resolver import testing

BOUND = 20.0
"""Seconds after which a test that waits for an event has failed."""

Script = Callable[[Iterable[bytes], grpc.ServicerContext], Iterator[bytes]]
"""Takes the requests, gives the responses: an RPC of any kind."""


class Backend(testing.Backend):
    """A backend of `/t.T/…` in all four kinds of RPC, by the script that it is given.

    Attributes:
        script: What the RPCs that come from now on do.
        metadata: What each RPC brought.
        gate: For scripts that wait until the test lets them go on.
        entered: Released by `hold` for each RPC that waits.
        left: Released for each RPC that has ended.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or echo
        self.metadata: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "UU": grpc.unary_unary_rpc_method_handler(lambda r, c: self._one([r], c)),
            "US": grpc.unary_stream_rpc_method_handler(lambda r, c: self._run([r], c)),
            "SU": grpc.stream_unary_rpc_method_handler(self._one),
            "SS": grpc.stream_stream_rpc_method_handler(self._run),
        }
        served = (grpc.method_handlers_generic_handler("t.T", handlers),)
        super().__init__(lambda server: server.add_generic_rpc_handlers(served))

    def _run(self, requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.left.release)
        self.metadata.append(dict(context.invocation_metadata()))
        yield from self.script(requests, context)

    def _one(self, requests: Iterable[bytes], context: grpc.ServicerContext) -> bytes:
        return b"".join(self._run(requests, context))

    def hold(self, requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Be a script that answers once the test lets it."""
        self.entered.release()
        self.gate.wait(BOUND)
        yield from echo(requests, context)

    def await_entered(self) -> None:
        """Wait until one more RPC is held."""
        assert self.entered.acquire(timeout=BOUND)

    def await_left(self) -> None:
        """Wait until one more RPC has ended at the server."""
        assert self.left.acquire(timeout=BOUND)

    def stop(self, grace: float | None = None) -> None:
        self.gate.set()
        super().stop(grace)


def echo(requests: Iterable[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
    """Answer each request with itself."""
    yield from requests


def failing(
    code: str, details: str = "no", trailing: Mapping[str, str | bytes] | None = None
) -> Script:
    """Make a script that fails before it answers."""

    def fail(_requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if trailing:
            context.set_trailing_metadata(tuple(trailing.items()))
        context.abort(grpc.StatusCode[code], details)

    return fail


RETRY: dict[str, object] = {
    "maxAttempts": 3,
    "initialBackoff": "0.001s",
    "maxBackoff": "0.001s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
}


def config(**fields: object) -> dict[str, object]:
    """Make a service config with fields for all methods; `top` has those of the config itself."""
    top = fields.pop("top", {})
    assert isinstance(top, dict)
    return {"methodConfig": [{"name": [{}], **fields}], **top}
