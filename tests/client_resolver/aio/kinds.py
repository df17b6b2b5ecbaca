"""The four kinds of RPC, made in one way, in each style that grpc has for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from tests.client_resolver.aio.scripted import BOUND

KINDS = {
    "unary_unary": "UU",
    "unary_stream": "US",
    "stream_unary": "SU",
    "stream_stream": "SS",
}
RESPONSES: dict[str, list[bytes]] = {
    "unary_unary": [b"a"],
    "unary_stream": [b"a", b"a", b"a"],
    "stream_unary": [b"ab"],
    "stream_stream": [b"a", b"b"],
}
STYLES = [(kind, style) for kind in KINDS for style in ("iterator", "reader and writer")]


def start(channel: Any, kind: str, style: str = "iterator", **kwargs: Any) -> Any:
    """Start an RPC that sends `a`, or the stream `a`, `b`."""
    multicallable = getattr(channel, kind)(f"/t.S/{KINDS[kind]}")
    kwargs.setdefault("timeout", 20)
    if kind.startswith("unary"):
        return multicallable(b"a", **kwargs)
    return multicallable(None if style == "reader and writer" else both(), **kwargs)


async def finish(call: Any, kind: str, style: str = "iterator") -> list[bytes]:
    """Send what is to be written and return the responses."""
    writes = kind.startswith("stream") and style == "reader and writer"
    if writes:
        await call.write(b"a")
        await call.write(b"b")
        await call.done_writing()
    if kind.endswith("unary"):
        return [await call]
    if style == "iterator":
        return [response async for response in call]
    responses: list[bytes] = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


async def both() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


async def until(condition: Callable[[], object]) -> None:
    """Wait for what grpc's own tasks and threads bring about, and tell nobody of."""
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
