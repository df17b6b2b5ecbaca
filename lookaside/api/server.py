"""The gRPC server: its settings, its services, and how it stops."""

from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2

from lookaside._pb import lookaside_pb2
from lookaside.api import health, reflection, servicer
from lookaside.api.authorization import Authorizer
from lookaside.api.servicer import ApiObserver, LoadBalancer
from lookaside.api.tls import TlsFiles, server_credentials
from lookaside.api.watch import WatchLimits
from lookaside.errors import ListenError
from lookaside.model import ServiceName
from lookaside.registry.readiness import Readiness
from lookaside.registry.store import Store

# Ten thousand clients may come back at once after a restart: by default gRPC cancels what it has
# not accepted beyond a thousand.
_MAX_PENDING = 100_000

OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", _MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # By this one, a minute by default, C-core 1.85 ends a connection whose pings are not answered.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 64 * 1024),
]


class GrpcServer:
    """Serves the LoadBalancer, health and reflection on one port.

    Args:
        store: What is known.
        readiness: Turned to draining by `stop`.
        observer: Is told of every call.
        authorizer: Decides what each caller may ask for.
        parse: Reads a service name as the client wrote it.
        limits: What ends a watch that its client keeps open.
        listen: HOST:PORT; port 0 has the system choose.
        tls: The certificates; None serves in plain text.
        describe: Whether reflection is served.

    Attributes:
        port: The port that is listened on.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: ApiObserver,
        *,
        authorizer: Authorizer,
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
        listen: str,
        tls: TlsFiles | None,
        describe: bool,
    ) -> None:
        self._readiness = readiness
        self._server = grpc.aio.server(options=OPTIONS)
        handlers = [
            LoadBalancer(
                store, readiness, observer, authorizer=authorizer, parse=parse, limits=limits
            ).handler(),
            health.Health(
                store,
                readiness,
                authorizer=authorizer,
                services=frozenset({servicer.SERVICE, health.SERVICE}),
                parse=parse,
                limits=limits,
            ).handler(),
        ]
        if describe:
            handlers += reflection.handlers([lookaside_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR])
        self._server.add_generic_rpc_handlers(handlers)
        self.port = self._bind(listen, tls)

    async def start(self) -> None:
        """Begin to accept calls."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Turn to not serving, end the watches, let the other calls finish, and close.

        Args:
            grace: Seconds after which calls that are still open are cancelled.
        """
        self._readiness.drain()
        await self._server.stop(grace)

    def _bind(self, listen: str, tls: TlsFiles | None) -> int:
        try:
            if tls is None:
                return self._server.add_insecure_port(listen)
            return self._server.add_secure_port(listen, server_credentials(tls))
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {listen}: {error}") from error
