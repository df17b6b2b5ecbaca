"""Real servers on loopback: backends of all four kinds of RPC, and a balancer told what to say.

They run on threads: several event loops in one process disturb each other in grpc.
"""

# The servicer's methods are named as in the proto.
# ruff: noqa: N802

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from time import monotonic

import grpc

from client_resolver import testing
from client_resolver._pb import lookaside_pb2
from tests.conformance._pb import echo_pb2_grpc
from tests.conformance._pb.echo_pb2 import Message

BOUND = 20.0
"""Seconds after which a test that waits for an event has failed."""

Context = grpc.ServicerContext


class Backend(testing.Backend):
    """A backend that echoes.

    `Hold` and `Feed` end when `release` is called.

    Attributes:
        holds: RPCs of the other methods send nothing until `release` is called.
        servicer: What it serves.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.holds = False
        self._entered = threading.Semaphore(0)
        self._gate = threading.Event()
        self.servicer = _Echo(self)
        super().__init__(
            lambda server: echo_pb2_grpc.add_EchoServicer_to_server(self.servicer, server),
            port=port,
            credentials=credentials,
        )

    @property
    def calls(self) -> Counter[str]:
        """How many RPCs came, by method alone."""
        return Counter(one.method.rpartition("/")[2] for one in self.received)

    @property
    def peers(self) -> set[str]:
        """The connections that RPCs came by."""
        return {one.peer for one in self.received}

    def wait(self) -> None:
        """Hold an RPC until `release` is called."""
        self._entered.release()
        self._gate.wait(BOUND)

    def await_entered(self) -> None:
        """Wait until one more RPC is held."""
        assert self._entered.acquire(timeout=BOUND)

    def release(self) -> None:
        """Let the RPCs that are held go on."""
        self._gate.set()

    def stop(self, grace: float | None = None) -> None:
        if grace is None:
            self.release()
        super().stop(grace)


class _Echo(echo_pb2_grpc.EchoServicer):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def _answer(self, context: Context) -> None:
        if self._backend.holds:
            self._backend.wait()
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("port", str(self._backend.port)),))

    def Unary(self, request: Message, context: Context) -> Message:
        self._answer(context)
        return request

    def Hold(self, request: Message, context: Context) -> Message:
        self._answer(context)
        self._backend.wait()
        return request

    def Fail(self, request: Message, context: Context) -> None:
        code, _, details = request.data.decode().partition(":")
        context.abort(grpc.StatusCode[code], details)

    def ServerStream(self, request: Message, context: Context) -> Iterator[Message]:
        self._answer(context)
        for _ in range(3):
            yield request

    def Feed(self, request: Message, context: Context) -> Iterator[Message]:
        self._answer(context)
        yield request
        self._backend.wait()
        yield request

    def ClientStream(self, requests: Iterator[Message], context: Context) -> Message:
        self._answer(context)
        return Message(data=b"".join(request.data for request in requests))

    def Bidi(self, requests: Iterator[Message], context: Context) -> Iterator[Message]:
        self._answer(context)
        yield from requests


class Balancer(testing.Balancer):
    """A balancer that says what the test has set, of any service, and nothing before that.

    Attributes:
        said_at: When it was last set, on the monotonic clock.
    """

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.said_at = -inf
        super().__init__(port=port, credentials=credentials, silent=True)

    def say(
        self,
        servers: Sequence[str | tuple[str, int]] = (),
        *,
        state: str = "STATE_PRESENT",
        revision: tuple[str, int, str] = ("", 0, ""),
        service_config: str = "",
        base: str | None = None,
        removed: Sequence[str] = (),
    ) -> None:
        """Set what every watch is told: addresses, or addresses with weights.

        A revision is its digest, version and epoch. With a base, it is a delta. A watch whose
        request knows a list with the very digest is told nothing.
        """
        pairs = [(server, 1) if isinstance(server, str) else server for server in servers]
        digest, version, epoch = revision
        response = lookaside_pb2.WatchServersResponse(
            servers=[lookaside_pb2.Server(address=a, weight=w) for a, w in pairs],
            state=state,
            revision=lookaside_pb2.Revision(digest=digest, version=version, epoch=epoch),
            service_config=service_config,
        )
        if base is not None:
            response.delta.base = base
            response.delta.removed.extend(removed)
        self.said_at = monotonic()
        self.publish("", response)
        self.recover()

    def await_requests(self, count: int) -> None:
        """Wait until `count` watches have started."""
        self.wait_for_requests(count, BOUND)

    def await_watches(self, count: int) -> None:
        """Wait until so many watches are open."""
        self.wait_for_watches(count, BOUND)
