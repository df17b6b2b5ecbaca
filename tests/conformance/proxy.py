"""A TCP proxy before a server, which can be told to misbehave."""

import contextlib
import selectors
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards what comes on a port of its own to another one on loopback.

    Attributes:
        port: Where it listens.
        accepted: How many connections it has taken.
        forwarded: How many bytes it has forwarded from clients.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._ended = False
        self._clients: set[socket.socket] = set()
        self.accepted = 0
        self.forwarded = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def freeze(self) -> None:
        """Say and hear nothing more, without closing anything, until `thaw`."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again, what has come meanwhile first."""
        self._flowing.set()

    def reset(self) -> int:
        """Reset all connections, and return how many there were."""
        with self._lock:
            number = len(self._clients)
            for one in list(self._clients):
                self._drop(one, reset=True)
        return number

    def close(self) -> None:
        self._ended = True
        self._flowing.set()
        self._thread.join()
        self.reset()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ended:
            self._flowing.wait()
            for key, _ in self._selector.select(0.05):
                if not self._flowing.is_set():
                    break
                found = key.fileobj
                assert isinstance(found, socket.socket)
                with self._lock, contextlib.suppress(OSError):
                    if found is self._listener:
                        self._accept()
                    elif found in self._pairs:
                        self._forward(found)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            raise
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one: socket.socket) -> None:
        try:
            content = one.recv(65536)
            self._pairs[one].sendall(content)
        except OSError:
            content = b""
        if not content:
            self._drop(one, reset=False)
        elif one in self._clients:
            self.forwarded += len(content)

    def _drop(self, one: socket.socket, *, reset: bool) -> None:
        for end in (one, self._pairs[one]):
            self._selector.unregister(end)
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
            del self._pairs[end]
            self._clients.discard(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()
