"""Real servers on loopback: backends of all four kinds of RPC, and a balancer told what to say.

They run on threads: several event loops in one process disturb each other in grpc.
"""

# The servicer's methods are named as in the proto.
# ruff: noqa: N802

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import grpc

from client_resolver import testing
from client_resolver._pb import lookaside_pb2
from tests.conformance._pb import echo_pb2_grpc
from tests.conformance._pb.echo_pb2 import Message

BOUND = 20.0
"""Seconds after which a test that waits for an event has failed."""

Context = grpc.ServicerContext


class Backend(testing.LoopbackServer, echo_pb2_grpc.EchoServicer):
    """A server that echoes, and keeps what it got.

    `Hold` and `Feed` end when `release` is called.

    Attributes:
        calls: How many RPCs came, by method.
        metadata: Their metadata.
        holds: RPCs of the other methods send nothing until `release` is called.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.metadata: list[dict[str, str | bytes]] = []
        self.holds = False
        self.entered = threading.Semaphore(0)
        self._gate = threading.Event()
        super().__init__(port, credentials)

    def _register(self, server: grpc.Server) -> None:
        echo_pb2_grpc.add_EchoServicer_to_server(self, server)

    def _note(self, name: str, context: Context) -> None:
        self.calls[name] += 1
        self.metadata.append(dict(context.invocation_metadata()))
        if self.holds:
            self._wait()
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("port", str(self.port)),))

    def Unary(self, request: Message, context: Context) -> Message:
        self._note("Unary", context)
        return request

    def Hold(self, request: Message, context: Context) -> Message:
        self._note("Hold", context)
        self._wait()
        return request

    def Fail(self, request: Message, context: Context) -> None:
        self.calls["Fail"] += 1
        code, _, details = request.data.decode().partition(":")
        context.abort(grpc.StatusCode[code], details)

    def ServerStream(self, request: Message, context: Context) -> Iterator[Message]:
        self._note("ServerStream", context)
        for _ in range(3):
            yield request

    def Feed(self, request: Message, context: Context) -> Iterator[Message]:
        self._note("Feed", context)
        yield request
        self._wait()
        yield request

    def ClientStream(self, requests: Iterator[Message], context: Context) -> Message:
        self._note("ClientStream", context)
        return Message(data=b"".join(request.data for request in requests))

    def Bidi(self, requests: Iterator[Message], context: Context) -> Iterator[Message]:
        self._note("Bidi", context)
        yield from requests

    def _wait(self) -> None:
        self.entered.release()
        self._gate.wait(BOUND)

    def await_entered(self) -> None:
        """Wait until one more RPC is held."""
        assert self.entered.acquire(timeout=BOUND)

    def release(self) -> None:
        """Let the RPCs that are held go on."""
        self._gate.set()

    def stop(self, grace: float | None = None) -> None:
        if grace is None:
            self.release()
        super().stop(grace)


class Balancer(testing.Balancer):
    """A balancer that says what the test has set, of any service, and nothing before that."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
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
        self.publish("", response)
        self.recover()

    def await_requests(self, count: int) -> None:
        """Wait until so many watches have been begun."""
        self.wait_for_requests(count, BOUND)

    def await_watches(self, count: int) -> None:
        """Wait until so many watches are open."""
        self.wait_for_watches(count, BOUND)
