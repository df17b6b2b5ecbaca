"""The backends: one server that listens on as many loopback addresses, in a process of its own."""

import ipaddress
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc

from benchmarks.overhead.backends import METHOD

__all__ = ["backends"]

_SPAWN = multiprocessing.get_context("spawn")
_FIRST = ipaddress.IPv4Address("127.0.1.1")


@contextmanager
def backends(count: int) -> Iterator[tuple[str, ...]]:
    """Listen at a number of addresses and yield them, `IP:PORT`."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(count, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)


def _serve(count: int, parent: Connection) -> None:
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    _, service, method = METHOD.split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    handlers = grpc.method_handlers_generic_handler(service, {method: handler})
    server.add_generic_rpc_handlers((handlers,))
    hosts = [str(_FIRST + number) for number in range(count)]
    port = server.add_insecure_port(f"{hosts[0]}:0")
    for host in hosts[1:]:
        server.add_insecure_port(f"{host}:{port}")
    server.start()
    parent.send(tuple(f"{host}:{port}" for host in hosts))
    parent.poll(None)
    server.stop(None).wait()


def _echo(request: bytes, _context: object) -> bytes:
    return request
