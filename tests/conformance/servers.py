"""Real servers on loopback: backends of all four kinds of RPC, and a balancer told what to say.

They run on threads: several event loops in one process disturb each other in grpc.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from client_resolver._pb import lookaside_pb2, lookaside_pb2_grpc

OPTIONS = [("grpc.so_reuseport", 0)]
BOUND = 20.0
"""Seconds after which a test that waits for an event has failed."""

Context = grpc.ServicerContext


class _Served:
    def __init__(self, workers: int, credentials: grpc.ServerCredentials | None, port: int) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._server = grpc.server(self._pool, options=OPTIONS)
        self._register(self._server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _register(self, server: grpc.Server) -> None:
        raise NotImplementedError

    def stop(self, grace: float | None = None) -> None:
        self._server.stop(grace).wait(BOUND)
        self._pool.shutdown(wait=False)


class Backend(_Served):
    """A server that echoes, and keeps what it got.

    `/t.Echo/Hold` and `/t.Echo/Feed` end when `release` is called.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.metadata: list[dict[str, str | bytes]] = []
        self.entered = threading.Semaphore(0)
        self._gate = threading.Event()
        super().__init__(16, credentials, port)

    def _register(self, server: grpc.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Hold": grpc.unary_unary_rpc_method_handler(self._hold),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self._server_stream),
            "Feed": grpc.unary_stream_rpc_method_handler(self._feed),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self._client_stream),
            "Bidi": grpc.stream_stream_rpc_method_handler(self._bidi),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", handlers),))

    def _note(self, name: str, context: Context) -> None:
        self.calls[name] += 1
        self.metadata.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("port", str(self.port)),))

    def _unary(self, request: bytes, context: Context) -> bytes:
        self._note("Unary", context)
        return request

    def _hold(self, request: bytes, context: Context) -> bytes:
        self._note("Hold", context)
        self.entered.release()
        self._gate.wait(BOUND)
        return request

    def _fail(self, request: bytes, context: Context) -> bytes:
        self.calls["Fail"] += 1
        code, _, details = request.decode().partition(":")
        context.abort(grpc.StatusCode[code], details)

    def _server_stream(self, request: bytes, context: Context) -> Iterator[bytes]:
        self._note("ServerStream", context)
        for _ in range(3):
            yield request

    def _feed(self, request: bytes, context: Context) -> Iterator[bytes]:
        self._note("Feed", context)
        yield request
        self.entered.release()
        self._gate.wait(BOUND)
        yield request

    def _client_stream(self, requests: Iterator[bytes], context: Context) -> bytes:
        self._note("ClientStream", context)
        return b"".join(requests)

    def _bidi(self, requests: Iterator[bytes], context: Context) -> Iterator[bytes]:
        self._note("Bidi", context)
        yield from requests

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


class Balancer(_Served, lookaside_pb2_grpc.LoadBalancerServicer):
    """A balancer that says what the test has set, and every change of it."""

    def __init__(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self.requests: list[lookaside_pb2.WatchServersRequest] = []
        self.watches = 0
        self._changed = threading.Condition()
        self._response: lookaside_pb2.WatchServersResponse | None = None
        self._error: tuple[grpc.StatusCode, str] | None = None
        self._stopped = False
        self._ended = 0
        super().__init__(16, credentials, port)

    def _register(self, server: grpc.Server) -> None:
        lookaside_pb2_grpc.add_LoadBalancerServicer_to_server(self, server)

    def WatchServers(  # noqa: N802
        self, request: lookaside_pb2.WatchServersRequest, context: Context
    ) -> Iterator[lookaside_pb2.WatchServersResponse]:
        said: lookaside_pb2.WatchServersResponse | None = None
        context.add_callback(self._wake)
        with self._changed:
            self.requests.append(request)
            number = len(self.requests)
            self.watches += 1
            if self._response is not None and self._error is None:
                digest = self._response.revision.digest
                if digest and request.known.digest == digest:
                    said = self._response
            self._changed.notify_all()
        try:
            while context.is_active():
                with self._changed:
                    self._changed.wait_for(
                        lambda said=said: (  # type: ignore[misc]
                            self._error is not None
                            or self._response is not said
                            or not context.is_active()
                            or self._stopped
                            or number <= self._ended
                        ),
                        BOUND,
                    )
                    said, error = self._response, self._error
                if self._stopped or number <= self._ended:
                    return
                if error is not None:
                    context.abort(*error)
                if said is not None:
                    yield said
        finally:
            with self._changed:
                self.watches -= 1
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

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
        with self._changed:
            self._response, self._error = response, None
            self._changed.notify_all()

    def end_watches(self) -> None:
        """End the watches that are open, in good order."""
        with self._changed:
            self._ended = len(self.requests)
            self._changed.notify_all()

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """End every watch with an error, those to come as well."""
        with self._changed:
            self._response, self._error = None, (code, details)
            self._changed.notify_all()

    def await_requests(self, count: int) -> None:
        """Wait until so many watches have been begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, BOUND)

    def await_watches(self, count: int) -> None:
        """Wait until so many watches are open."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.watches == count, BOUND)

    def stop(self, grace: float | None = None) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        super().stop(grace)
