"""Counts and limits the open streams of each gRPC service.

What is counted here can be opened by anyone who reaches the port, before it is known who calls, so
each kind has a bound: in all, so that memory is bounded, and for each host, so that one host alone
can't take what is meant for all. A stream counts until gRPC has done with it, read or not.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc.aio import ServicerContext
from msgspec import Struct

from lookaside.errors import InvalidRequest, TooManyStreams
from lookaside.metrics import DOORS

Request = TypeVar("Request")
Response = TypeVar("Response")
M = TypeVar("M", bound=Message)

WATCHES, HEALTH, REFLECTION, GRPCLB, XDS = DOORS


class StreamBounds(Struct, frozen=True):
    """Limits of streams of one gRPC service.

    Attributes:
        total: In all.
        per_host: From one address.
    """

    total: int
    per_host: int


class NameBounds(Struct, frozen=True):
    """How many names streams of xDS may ask for.

    Attributes:
        stream: On one stream.
        total: On all.
    """

    stream: int = 1_000
    total: int = 200_000


class Bounds(Struct, frozen=True):
    """Limits of what callers may use. Times are in seconds.

    Attributes:
        connections: Connections to the gRPC port.
        streams_per_connection: HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS. Further calls of a
            connection wait in the client for others to end; the limit also holds for a client that
            resets them at once (CVE-2023-44487).
        handshake: A connection that has not shown itself as HTTP/2 by then, after TLS, is closed.
        watches: Open calls of WatchServers.
        grpclb: Open calls of BalanceLoad.
        xds: Open streams of xDS.
        names: Names that they may ask for.
        health: Open calls of health's Watch.
        reflection: Open calls of reflection.
        reflection_age: The age at which a call of reflection is ended.
    """

    connections: int = 20_000
    streams_per_connection: int = 250
    handshake: float = 10.0
    watches: StreamBounds = StreamBounds(50_000, 20_000)
    grpclb: StreamBounds = StreamBounds(50_000, 20_000)
    xds: StreamBounds = StreamBounds(50_000, 20_000)
    names: NameBounds = NameBounds()
    health: StreamBounds = StreamBounds(10_000, 1_000)
    reflection: StreamBounds = StreamBounds(100, 20)
    reflection_age: float = 60.0

    def of(self, door: str) -> StreamBounds:
        """Return the bounds of one of `DOORS`."""
        return {
            WATCHES: self.watches,
            HEALTH: self.health,
            REFLECTION: self.reflection,
            GRPCLB: self.grpclb,
            XDS: self.xds,
        }[door]


class CallObserver(Protocol):
    """Receives events of calls, for metrics."""

    def clients(self, door: str, count: int) -> None:
        """The number of connections with an open stream at a door changed."""

    def certificate_ends(self, at: float) -> None:
        """The certificate that is served with ends then, in seconds since 1970. In any thread."""

    def stream_refused(self, door: str, bound: str) -> None:
        """A stream was refused by a bound: ``total`` or ``host``."""


class _Door:
    """The open streams of one door, by host and by connection."""

    def __init__(self, bounds: StreamBounds) -> None:
        self.bounds = bounds
        self.open = 0
        self.hosts: Counter[str] = Counter()
        self.peers: Counter[str] = Counter()

    def add(self, peer: str, number: int) -> None:
        """Count a stream of a peer in, or off by -1."""
        self.open += number
        for counter, key in ((self.hosts, host(peer)), (self.peers, peer)):
            counter[key] += number
            if not counter[key]:
                del counter[key]


class Calls:
    """The calls that are open, for one server.

    Args:
        bounds: What callers may take.
        observer: Receives the number of clients and refused streams.
    """

    def __init__(self, bounds: Bounds, observer: CallObserver) -> None:
        self._observer = observer
        self._doors = {door: _Door(bounds.of(door)) for door in DOORS}
        self._running = 0
        self._none: asyncio.Event | None = None

    def open(self, door: str) -> int:
        """Return how many streams of a door are open."""
        return self._doors[door].open

    def admit(self, door: str, context: ServicerContext[Request, Response]) -> None:
        """Count a stream in until gRPC has done with it.

        Raises:
            TooManyStreams: The door has as many as it takes.
        """
        peer = context.peer()
        held = self._doors[door]
        if held.open >= held.bounds.total:
            self._observer.stream_refused(door, "total")
            raise TooManyStreams(f"{held.open} streams of {door} are open, and no more are taken")
        if held.hosts[host(peer)] >= held.bounds.per_host:
            self._observer.stream_refused(door, "host")
            raise TooManyStreams(
                f"{held.bounds.per_host} streams of {door} are open from {host(peer)}, and no more "
                "are taken from one host"
            )
        held.add(peer, 1)
        self._observer.clients(door, len(held.peers))
        # The type stubs want a class that they define where any callable will do.
        context.add_done_callback(lambda _: self._leave(door, peer))  # type: ignore[arg-type]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a call as one whose answer is still being made, for as long as that is so."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self._none is not None and not self._running:
                self._none.set()

    async def answered(self) -> None:
        """Wait until every call has been answered, read or not."""
        self._none = asyncio.Event()
        if self._running:
            await self._none.wait()

    def _leave(self, door: str, peer: str) -> None:
        held = self._doors[door]
        held.add(peer, -1)
        self._observer.clients(door, len(held.peers))


def host(peer: str) -> str:
    """Return the host of a peer as gRPC names it, such as ``ipv4:10.0.0.1:40312``."""
    return peer.rpartition(":")[0] or peer


def parsed(kind: type[M], raw: bytes) -> M:
    """Read a request. It is done here since gRPC answers with UNKNOWN and logs a traceback.

    Raises:
        InvalidRequest: It is not one.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidRequest(
            f"the request's {len(raw)} bytes are no {kind.DESCRIPTOR.full_name}"
        ) from error
