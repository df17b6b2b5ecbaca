"""Limits on connections to the admin port: their number and their age.

It is plain HTTP for probes and Prometheus, which send small requests at once. Who does not must not
take the process's file descriptors, which gRPC needs, nor keep probes out.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

from msgspec import Struct

_HEAD_END = b"\r\n\r\n"


class ConnectionBounds(Struct, frozen=True):
    """Limits of connections.

    Attributes:
        most: How many there may be.
        patience: Seconds within which a request's head must have come, since the connection was
            made or since its first byte, and within which some of an answer must be read.
    """

    most: int = 100
    patience: float = 10.0


class Connections:
    """The open connections of one server.

    Args:
        bounds: What they may take.
        make: Makes the protocol that serves one.
    """

    def __init__(self, bounds: ConnectionBounds, make: Callable[[], asyncio.BaseProtocol]) -> None:
        self._bounds = bounds
        self._make = make
        self._open: dict[_Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def make(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(cast("asyncio.Protocol", self._make()), self, self._bounds.patience)

    def add(self, connection: "_Connection") -> None:
        """Take a connection in; if there are too many, close one for it.

        That is the one that has waited longest for a request, of the host with the most such
        connections: a probe's sends its request at once.
        """
        if len(self._open) >= self._bounds.most:
            waiting = [one for one in self._open if one.waits]
            busiest = Counter(one.host for one in waiting).most_common(1)
            host = busiest[0][0] if busiest else None
            victim = next((one for one in waiting if one.host == host), connection)
            victim.abort()
            if victim is connection:
                return
        self._open[connection] = None

    def remove(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """One connection: passes all on to the protocol that serves it.

    Attributes:
        host: Where it is from.
        waits: Whether it has no request whose head is complete.
    """

    def __init__(self, served: asyncio.Protocol, connections: Connections, patience: float) -> None:
        self.host = ""
        self.waits = True
        self._served = served
        self._connections = connections
        self._patience = patience
        self._transport: asyncio.Transport | None = None
        self._end = b""
        self._timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Close the connection at once."""
        self._connections.remove(self)
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer: tuple[str, ...] = transport.get_extra_info("peername") or ("",)
        self.host = peer[0]
        self._served.connection_made(transport)
        self._start()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        seen = self._end + data
        self.waits = _HEAD_END not in seen
        self._end = seen[-len(_HEAD_END) + 1 :] if self.waits else b""
        if not self.waits:
            self._stop()
        elif self._timer is None:
            self._start()
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received()

    def pause_writing(self) -> None:
        self._start()
        self._served.pause_writing()

    def resume_writing(self) -> None:
        self._stop()
        self._served.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.remove(self)
        self._stop()
        self._served.connection_lost(error)

    def _start(self) -> None:
        self._stop()
        self._timer = asyncio.get_running_loop().call_later(self._patience, self.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
