"""A greeter that says which backend it is, as a service behind any balancer should be.

It answers health checks, tells how loaded it is, lets clients send keepalive pings, and leaves in
order: at SIGTERM it says that it is not serving, goes on for as long as clients may take to learn
of it, then takes no new request and finishes those that it has.
"""

import argparse
import asyncio
import os
import signal

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from examples.greeter._pb.greeter_pb2 import HelloReply, HelloRequest
from examples.greeter._pb.greeter_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server
from examples.greeter.load import Load

_GRACE_SECONDS = 15.0


class Greeter(GreeterServicer):
    """Greets.

    Args:
        backend: What it says that it is, HOST:PORT.
        load: Counts what it serves.
    """

    def __init__(self, backend: str, load: Load) -> None:
        self._backend = backend
        self._load = load

    async def SayHello(  # noqa: N802 - the name in the proto
        self, request: HelloRequest, _context: grpc.aio.ServicerContext[HelloRequest, HelloReply]
    ) -> HelloReply:
        """Greet by name."""
        self._load.requests += 1
        return HelloReply(message=f"Hello, {request.name}!", backend=self._backend)


def options(max_connection_age: float) -> list[tuple[str, int]]:
    """Return the server's channel arguments.

    Args:
        max_connection_age: Seconds after which a connection is ended in order, about; 0 for never.
            gRPC's own DNS resolver looks for new backends only when one ends.
    """
    given = [
        ("grpc.so_reuseport", 0),
        # By default a client that pings more often than every five minutes is sent away.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    if max_connection_age:
        given.append(("grpc.max_connection_age_ms", round(max_connection_age * 1000)))
        given.append(("grpc.max_connection_age_grace_ms", round(_GRACE_SECONDS * 1000)))
    return given


async def serve(listen: str, linger: float, max_connection_age: float) -> None:
    """Greet until SIGTERM or SIGINT.

    The address is printed once requests are taken, as the only line on stdout.

    Args:
        listen: HOST:PORT; port 0 has the system choose.
        linger: Seconds to go on after the signal.
        max_connection_age: See `options`.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = grpc.aio.server(options=options(max_connection_age))
    port = server.add_insecure_port(listen)
    backend = f"{os.environ.get('POD_IP') or listen.rpartition(':')[0]}:{port}"
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    load = Load()
    server.add_generic_rpc_handlers((load,))
    add_GreeterServicer_to_server(Greeter(backend, load), server)
    await server.start()
    for name in ("", "greeter.Greeter"):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    print(backend, flush=True)
    await stop.wait()
    await checks.enter_graceful_shutdown()
    await asyncio.sleep(linger)
    await server.stop(_GRACE_SECONDS)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="A greeter that says which backend it is.")
    parser.add_argument("--listen", default="[::]:50051", metavar="HOST:PORT")
    parser.add_argument("--linger", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--max-connection-age", type=float, default=0.0, metavar="SECONDS")
    args = parser.parse_args()
    asyncio.run(serve(args.listen, args.linger, args.max_connection_age))


if __name__ == "__main__":
    main()
