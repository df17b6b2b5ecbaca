"""The gRPC server: its settings, its services, and how it stops."""

import asyncio
import resource
from collections.abc import Callable
from functools import partial

import grpc
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2
from msgspec import Struct

from lookaside._pb import grpclb_pb2, lookaside_pb2
from lookaside.api import grpclb, health, reflection, servicer
from lookaside.api.authorization import Authorizer
from lookaside.api.calls import Bounds, Calls
from lookaside.api.grpclb import GrpclbDoor, GrpclbObserver
from lookaside.api.servicer import LoadBalancer
from lookaside.api.tls import TlsFiles, server_credentials
from lookaside.api.watch import FLUSH, WatchLimits
from lookaside.api.worker import LoopWorker
from lookaside.api.xds import door as xds
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

# Files and sockets that gRPC leaves to the rest: the admin port, the API server, files.
_SPARE_DESCRIPTORS = 500


def options(bounds: Bounds, limits: WatchLimits) -> list[tuple[str, int]]:
    """Return gRPC's settings, by which it bounds what a connection may take."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = [
        *OPTIONS,
        ("grpc.max_concurrent_streams", bounds.streams_per_connection),
        ("grpc.server_handshake_timeout_ms", int(bounds.handshake * 1000)),
        (
            "grpc.max_allowed_incoming_connections",
            max(1, min(bounds.connections, descriptors - _SPARE_DESCRIPTORS)),
        ),
    ]
    if limits.max_age:
        # A stream that is never read stays with gRPC until its connection ends, whatever it was
        # ended with here. New watches go to a new connection; those of the old one end by their
        # own age, within the grace.
        age = int(limits.max_age * 1000)
        found.append(("grpc.max_connection_age_ms", age))
        found.append(("grpc.max_connection_age_grace_ms", age + int(limits.write_timeout * 1000)))
    return found


class Doors(Struct, frozen=True):
    """Which ways to the lists are open beside the LoadBalancer's own.

    Attributes:
        grpclb: That of gRPC's `grpclb` policy.
        load_reports: How often clients are asked to report their load, in seconds; 0: never.
        xds: That of gRPC's xDS clients and of Envoy.
    """

    grpclb: bool = True
    load_reports: float = 0.0
    xds: bool = True


class GrpcServer:
    """Serves the LoadBalancer, the other doors, health and reflection on one port.

    Args:
        store: What is known.
        readiness: Turned to draining by `stop`.
        observer: Receives every call.
        authorizer: Decides what each caller may ask for.
        parse: Reads a service name as the client wrote it.
        limits: What ends a watch that its client keeps open.
        listen: HOST:PORT; port 0 has the system choose.
        tls: The certificates; None serves in plain text.
        describe: Whether reflection is served.
        worker: Does what takes long.
        bounds: What callers may take.
        doors: Which ways to the lists are open.

    Attributes:
        calls: The calls that are open.
        port: The port that is listened on.
    """

    def __init__(
        self,
        store: Store,
        readiness: Readiness,
        observer: GrpclbObserver,
        *,
        authorizer: Authorizer,
        parse: Callable[[str], ServiceName],
        limits: WatchLimits,
        listen: str,
        tls: TlsFiles | None,
        describe: bool,
        worker: LoopWorker,
        bounds: Bounds | None = None,
        doors: Doors | None = None,
    ) -> None:
        self._readiness = readiness
        bounds, doors = bounds or Bounds(), doors or Doors()
        self.calls = calls = Calls(bounds, observer)
        self._server = grpc.aio.server(options=options(bounds, limits))
        handlers = [
            LoadBalancer(
                store,
                readiness,
                observer,
                authorizer=authorizer,
                parse=parse,
                limits=limits,
                calls=calls,
                worker=worker,
            ).handler()
        ]
        services = {servicer.SERVICE, health.SERVICE}
        if doors.grpclb:
            services.add(grpclb.SERVICE)
            handlers.append(
                GrpclbDoor(
                    store,
                    readiness,
                    observer,
                    authorizer=authorizer,
                    parse=parse,
                    limits=limits,
                    calls=calls,
                    worker=worker,
                    load_reports=doors.load_reports,
                ).handler()
            )
        if doors.xds:
            services.add(xds.SERVICE)
            handlers.append(
                xds.XdsDoor(
                    store,
                    readiness,
                    observer,
                    authorizer=authorizer,
                    parse=parse,
                    limits=limits,
                    calls=calls,
                    worker=worker,
                    names=bounds.names,
                ).handler()
            )
        handlers.append(
            health.Health(
                store,
                readiness,
                observer,
                authorizer=authorizer,
                services=frozenset(services),
                parse=parse,
                limits=limits,
                calls=calls,
            ).handler()
        )
        if describe:
            age = min(limits.max_age, bounds.reflection_age) or bounds.reflection_age
            handlers += reflection.Reflection(
                partial(_described, doors),
                readiness,
                observer,
                limits=WatchLimits(age, limits.write_timeout),
                calls=calls,
            ).handlers()
        self._server.add_generic_rpc_handlers(handlers)
        self.port = self._bind(listen, tls, observer.certificate_ends)

    async def start(self) -> None:
        """Begin to accept calls."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Turn to not serving, end the watches, let the other calls finish, and close.

        Args:
            grace: Seconds after which calls that are still open are cancelled. Those that have been
                answered and whose callers don't read are not waited for.
        """
        self._readiness.drain()
        stopping = asyncio.create_task(self._server.stop(grace), name="stop gRPC")
        answered = asyncio.create_task(self.calls.answered(), name="calls answered")
        await asyncio.wait((stopping, answered), return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        if grace > FLUSH:
            await asyncio.wait((stopping,), timeout=FLUSH)
            if not stopping.done():
                # Never on a server that has stopped: in grpc 1.85 that ends the process.
                await self._server.stop(None)
        await stopping

    def _bind(self, listen: str, tls: TlsFiles | None, ends: Callable[[float], None]) -> int:
        try:
            if tls is None:
                return self._server.add_insecure_port(listen)
            return self._server.add_secure_port(listen, server_credentials(tls, ends))
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {listen}: {error}") from error


def _described(doors: Doors) -> list[FileDescriptor]:
    """Return the descriptors of what is served, for reflection."""
    found = [lookaside_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR]
    if doors.grpclb:
        found.append(grpclb_pb2.DESCRIPTOR)
    return [*found, *xds.descriptors()] if doors.xds else found
