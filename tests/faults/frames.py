"""HTTP/2 by hand (RFC 9113), for what no gRPC client would do: frames as bytes over a socket."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
CANCEL = struct.pack(">I", 8)


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    """Return a SETTINGS frame with these numbers of settings."""
    pairs = (struct.pack(">HI", int(key.lstrip("_")), value) for key, value in values.items())
    return frame(SETTINGS, b"".join(pairs))


def header(name: str, value: str) -> bytes:
    """Return a header by HPACK's literal form without indexing (RFC 7541, 6.2.2)."""
    return b"\0" + _text(name) + _text(value)


def call(method: str, message: bytes, stream: int, *, ends: bool = True) -> bytes:
    """Return the frames of a call with one message, and of the end of its messages."""
    block = b"".join(
        header(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, block, flags=END_HEADERS, stream=stream) + frame(
        DATA, body, flags=END_STREAM if ends else 0, stream=stream
    )


def _text(text: str) -> bytes:
    raw = text.encode()
    return _integer(len(raw), 7) + raw


def _integer(value: int, bits: int) -> bytes:
    """Return a number by HPACK's form with a prefix of so many bits (RFC 7541, 5.1)."""
    most = 2**bits - 1
    if value < most:
        return bytes([value])
    out = bytearray([most])
    value -= most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


@dataclass
class Connection:
    """A connection whose answers are counted and thrown away.

    Attributes:
        ended: Set when the server has closed it.
        received: How many frames of each kind came.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    received: dict[int, int] = field(default_factory=dict)

    async def send(self, data: bytes, patience: float = 20.0) -> bool:
        """Write; False when the server has gone, or takes nothing more for so many seconds."""
        if self.ended.is_set():
            return False
        self.writer.write(data)
        try:
            async with asyncio.timeout(patience):
                await self.writer.drain()
                await asyncio.sleep(0)  # drain() alone never lets others go on while there is room
        except (OSError, TimeoutError):
            return False
        return True

    async def until(self, condition: Callable[[Mapping[int, int]], bool]) -> None:
        """Wait until what was received is such."""
        async with asyncio.timeout(20):
            while not condition(self.received):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def read(self) -> None:
        """Read frames until the server closes."""
        try:
            while True:
                head = await self.reader.readexactly(9)
                await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                self.received[head[3]] = self.received.get(head[3], 0) + 1
        except (OSError, asyncio.IncompleteReadError):
            self.ended.set()


@asynccontextmanager
async def connected(port: int, first: bytes | None = None) -> AsyncIterator[Connection]:
    """Connect to a port on loopback and send the preface and settings, or other bytes first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Connection(reader, writer)
    writer.write(PREFACE + settings() if first is None else first)
    task = asyncio.create_task(connection.read())
    try:
        yield connection
    finally:
        task.cancel()
        await asyncio.wait([task])
        writer.transport.abort()
