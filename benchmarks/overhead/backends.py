"""The backends that are called: many servers in one process of its own."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc
import uvloop

__all__ = ["METHOD", "backends"]

METHOD = "/bench.Echo/Unary"

_SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def backends(count: int) -> Iterator[tuple[str, ...]]:
    """Run a number of servers on loopback and yield their addresses."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(count, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield tuple(f"127.0.0.1:{port}" for port in ours.recv())
    finally:
        ours.close()
        process.join(10)


def _serve(count: int, parent: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serving(count, parent))


async def _serving(count: int, parent: Connection) -> None:
    servers = []
    ports = []
    for _ in range(count):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((_Echo(),))
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    parent.send(ports)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(parent.fileno(), ended.set)
    await ended.wait()
    await asyncio.gather(*(server.stop(None) for server in servers))


class _Echo(grpc.GenericRpcHandler):
    def service(
        self, details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(_echo) if details.method == METHOD else None


async def _echo(request: bytes, _context: object) -> bytes:
    return request
