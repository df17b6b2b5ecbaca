"""Backends that serve what a test gives them, count it, and fail on demand."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, overload

import grpc
from google.protobuf import json_format

from client_resolver._pb import orca_pb2
from client_resolver.call.load_report import LOAD_REPORT, LOAD_REPORT_TEXT
from client_resolver.testing.faults import Fault, Faults
from client_resolver.testing.health import PREFIX as HEALTH
from client_resolver.testing.health import Health
from client_resolver.testing.interceptor import Interceptor
from client_resolver.testing.load_service import PREFIX as LOAD_SERVICE
from client_resolver.testing.load_service import LoadService
from client_resolver.testing.server import TIMEOUT, LoopbackServer

__all__ = ["Backend", "Backends", "Received"]

Add = Callable[[grpc.Server], object]
"""Adds servicers to a server: `lambda server: add_GreeterServicer_to_server(Greeter(), server)`."""


@dataclass(frozen=True, slots=True)
class Received:
    """One RPC that came to a backend.

    Attributes:
        method: `/package.Service/Method`.
        metadata: What the client sent along.
        peer: The client's address as grpc has it.
    """

    method: str
    metadata: tuple[tuple[str, str | bytes], ...]
    peer: str


class Backend(LoopbackServer):
    """A server of the test's own services. It listens from its making on.

    Faults add up: an RPC meets those that are for it in the order in which they were set. It is
    counted in any case. Health checks and streams of load reports are neither counted nor do
    they meet faults.

    Args:
        add: Adds the servicers. None: every method of every service answers with the bytes that it
            was sent, message for message.
        port: Where to listen. 0: on a port that is free.
        credentials: Of the server. None: no TLS.
    """

    def __init__(
        self,
        add: Add | None = None,
        *,
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._add = add
        self._faults = Faults()
        self._health = Health()
        self._changed = threading.Condition()
        self._received: list[Received] = []
        self._in_flight = 0
        self._load: tuple[tuple[str, str | bytes], ...] = ()
        self._load_service = LoadService()
        interceptor = Interceptor(self._carry, (HEALTH, LOAD_SERVICE))
        super().__init__(port, credentials, [interceptor])

    @property
    def received(self) -> tuple[Received, ...]:
        """The RPCs that came, in order."""
        with self._changed:
            return tuple(self._received)

    @property
    def calls(self) -> Counter[str]:
        """How many RPCs came, by method: `/package.Service/Method`."""
        return Counter(one.method for one in self.received)

    @property
    def in_flight(self) -> int:
        """How many RPCs have not ended."""
        return self._in_flight

    def clear_calls(self) -> None:
        """Forget the RPCs that came so far."""
        with self._changed:
            self._received.clear()

    def fail(
        self,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        details: str = "as the test wants it",
        *,
        share: float = 1.0,
        method: str | None = None,
    ) -> None:
        """Have RPCs fail before the servicer sees them.

        Args:
            code: With what status.
            details: With what text.
            share: Which part of them, from 0 to 1. It is exact: with 0.5, every second one.
            method: The method, `/package.Service/Method`. None: all methods.
        """
        self._faults.add(Fault(share=share, method=method, code=code, details=details))

    def delay(self, seconds: float, *, share: float = 1.0, method: str | None = None) -> None:
        """Have RPCs wait before the servicer sees them. See `fail` for the rest."""
        self._faults.add(Fault(share=share, method=method, delay=seconds))

    def hang(self, *, share: float = 1.0, method: str | None = None) -> None:
        """Have RPCs wait until `recover`, or until they end otherwise. See `fail` for the rest."""
        self._faults.add(Fault(share=share, method=method, delay=None))

    def recover(self) -> None:
        """Take all faults away. RPCs that wait for one go on."""
        self._faults.clear()

    def set_healthy(self, healthy: bool) -> None:
        """Set the health status for clients with a `healthCheckConfig`, for every service name."""
        self._health.set(serving=healthy)

    def report(
        self,
        *,
        qps: float = 0.0,
        eps: float = 0.0,
        application_utilization: float = 0.0,
        cpu_utilization: float = 0.0,
        mem_utilization: float = 0.0,
        utilization: Mapping[str, float] | None = None,
    ) -> None:
        """Have a load report go out with every RPC that ends from now on (ORCA, gRFC A51).

        It goes out as text, too, for C-core keeps the binary form to itself; and out of band, to
        clients that ask `xds.service.orca.v3.OpenRcaService`, which is UNIMPLEMENTED before.

        Args:
            qps: Requests per second that the backend says it serves. 0: it doesn't say.
            eps: Errors per second.
            application_utilization: How full it is by its own measure. 1.0: just full.
            cpu_utilization: How full its CPU is.
            mem_utilization: How full its memory is.
            utilization: How full other things are, by name.
        """
        report = orca_pb2.LoadReport(
            rps_fractional=qps,
            eps=eps,
            application_utilization=application_utilization,
            cpu_utilization=cpu_utilization,
            mem_utilization=mem_utilization,
            utilization=utilization,
        )
        text = json_format.MessageToJson(report, indent=None)
        binary = report.SerializeToString()
        self._load_service.set(binary)
        self._load = ((LOAD_REPORT, binary), (LOAD_REPORT_TEXT, f"JSON {text}"))

    @property
    def load_streams(self) -> int:
        """How many streams of load reports are open."""
        return self._load_service.streams

    @property
    def load_streams_begun(self) -> int:
        """How many were ever asked for."""
        return self._load_service.begun

    def end_load_streams(self) -> None:
        """End the streams of load reports that are open."""
        self._load_service.end_streams()

    def wait_for_calls(self, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until `count` RPCs have arrived.

        Raises:
            TimeoutError: They have not in `timeout` seconds.
        """
        self._wait(lambda: len(self._received) >= count, timeout, f"{count} RPCs to come")

    def wait_for_in_flight(self, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until exactly `count` RPCs are in flight.

        Raises:
            TimeoutError: They are not in `timeout` seconds.
        """
        self._wait(lambda: self._in_flight == count, timeout, f"{count} RPCs in flight")

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"{self!r} waited {timeout:g} s for {what}")

    @contextmanager
    def _carry(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        """Be around an RPC from its start to its end."""
        metadata = tuple((name, value) for name, value in context.invocation_metadata())
        with self._changed:
            self._received.append(Received(method, metadata, context.peer()))
            self._in_flight += 1
            self._changed.notify_all()
        try:
            self._faults.meet(method, context)
            yield
        finally:
            if self._load:
                trailing = context.trailing_metadata() or ()
                context.set_trailing_metadata((*trailing, *self._load))
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _register(self, server: grpc.Server) -> None:
        server.add_generic_rpc_handlers((self._health, self._load_service))
        if self._add is not None:
            self._add(server)
        else:
            server.add_generic_rpc_handlers((_Echo(),))

    def _end_watches(self) -> None:
        self._health.end_watches()
        self._load_service.end_streams()


class _Echo(grpc.GenericRpcHandler):
    """Serves every method. On the wire, all kinds of RPC are streams."""

    def service(
        self,
        handler_call_details: grpc.HandlerCallDetails,  # noqa: ARG002
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """See `grpc.GenericRpcHandler`."""
        return grpc.stream_stream_rpc_method_handler(lambda requests, _context: requests)


class Backends(Sequence[Backend]):
    """Several backends that serve the same.

    Args:
        count: How many.
        add: See `Backend`.
        credentials: See `Backend`.
    """

    def __init__(
        self,
        count: int,
        add: Add | None = None,
        *,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._add = add
        self._credentials = credentials
        self._backends: list[Backend] = []
        self.start(count)

    def start(self, count: int = 1) -> list[Backend]:
        """Start more backends, and return these."""
        more = [Backend(self._add, credentials=self._credentials) for _ in range(count)]
        self._backends += more
        return more

    def stop(self, grace: float | None = None) -> None:
        """Stop all of them. See `Backend.stop`."""
        for backend in self._backends:
            backend.stop(grace)

    @property
    def target(self) -> str:
        """A target with exactly these backends, for tests that need no balancer."""
        return "static:///" + ",".join(backend.address for backend in self._backends)

    @property
    def calls(self) -> list[int]:
        """How many RPCs came to each."""
        return [len(backend.received) for backend in self._backends]

    def clear_calls(self) -> None:
        """Forget the RPCs that came so far."""
        for backend in self._backends:
            backend.clear_calls()

    def recover(self) -> None:
        """Take the faults of all of them away. See `Backend.recover`."""
        for backend in self._backends:
            backend.recover()

    @overload
    def __getitem__(self, index: int) -> Backend: ...
    @overload
    def __getitem__(self, index: slice) -> list[Backend]: ...
    def __getitem__(self, index: int | slice) -> Backend | list[Backend]:
        return self._backends[index]

    def __len__(self) -> int:
        return len(self._backends)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Backends {self._backends!r}>"
