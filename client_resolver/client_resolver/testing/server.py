"""A gRPC server on loopback that can be stopped and started again on the same port."""

import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self
from weakref import finalize

import grpc

__all__ = ["TIMEOUT", "LoopbackServer", "reserve_port"]

TIMEOUT = 20.0
"""Seconds after which what was waited for has not come, unless it is said otherwise."""

_WORKERS = 100
"""Maximum number of concurrent RPCs of a server, including watches. Threads start as needed."""

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    # By default, a client that pings as often as a test needs it is disconnected.
    ("grpc.http2.min_ping_interval_without_data_ms", 1),
    ("grpc.keepalive_permit_without_calls", 1),
)


def reserve_port(owner: object) -> int:
    """Return a free port of 127.0.0.1 that the system gives to nobody else while `owner` exists.

    A socket is bound to it that never listens: connections are refused. Linux lets a server
    with SO_REUSEADDR, such as grpc's, listen there all the same. Other systems don't, and the port
    is not kept.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
        if sys.platform == "linux":
            finalize(owner, os.close, bound.detach())
    return port


class LoopbackServer:
    """Listens from its making on, until `stop`.

    Args:
        port: Where. 0: on a port that is free. While this object exists, no other program is
            given it, so that nobody else answers there between a stop and a restart (on Linux).
        credentials: Of the server. None: no TLS.
        interceptors: grpc's, around every RPC.

    Attributes:
        port: Where it listens. It stays the same after a restart.
    """

    def __init__(
        self,
        port: int,
        credentials: grpc.ServerCredentials | None,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self._credentials = credentials
        self._interceptors = interceptors
        self._server: grpc.Server | None = None
        self.port = port or reserve_port(self)
        self._start()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def stop(self, grace: float | None = None) -> None:
        """Stop listening and close all connections. Nothing happens if it was stopped before.

        Args:
            grace: Seconds that RPCs get to end; new ones are refused. None: they are cancelled.
        """
        server, self._server = self._server, None
        if server is None:
            return
        self._end_watches()
        stopped = server.stop(grace)
        if not stopped.wait((grace or 0.0) + TIMEOUT):
            raise TimeoutError(f"{self!r}: an RPC's handler has not returned in {TIMEOUT:g} s")
        self._pool.shutdown(wait=False)

    def restart(self, grace: float | None = None) -> None:
        """Stop, if it runs, and listen again on the same port.

        Args:
            grace: See `stop`.
        """
        self.stop(grace)
        self._start()

    def _start(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, f"client_resolver.testing:{self.port}")
        server = grpc.server(self._pool, interceptors=list(self._interceptors), options=_OPTIONS)
        self._register(server)
        if self._credentials is None:
            self.port = server.add_insecure_port(self.address)
        else:
            self.port = server.add_secure_port(self.address, self._credentials)
        self._server = server
        server.start()

    def _register(self, server: grpc.Server) -> None:
        """Add what the server serves. It is called at each start."""
        raise NotImplementedError

    def _end_watches(self) -> None:
        """End RPCs that nothing else would end. It is called once `running` doesn't hold."""

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
        doing = "listens" if self.running else "stopped"
        return f"<{type(self).__name__} {self.address}: {doing}>"
