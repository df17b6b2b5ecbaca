"""A call that is cancelled, or whose channel is closed, ends as one on a plain channel of grpc's.

In whichever phase it is: while it waits for the first connection, under way, in the middle of its
responses, and while it waits for another attempt.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import aio
from client_resolver.telemetry.observer import Attempt, Observer
from client_resolver.testing import Backend, eventually, wait_for
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.fleet import KINDS, TIMEOUT, retrying, serving

NOBODY = "127.0.0.1:1"
"""Where no server listens."""
NEVER = "1000s"
RETRYING = retrying(initialBackoff=NEVER, maxBackoff=NEVER)
OF_GRPC = [("grpc.service_config", json.dumps(RETRYING))]
"""A plain channel tries again as well, by the same config."""
CONFIGS: dict[str, dict[str, object] | None] = {
    "plain": None,
    "retried": RETRYING,
    "limited": retrying(initialBackoff=NEVER, maxBackoff=NEVER, perAttemptRecvTimeout="1000s"),
    "hedged": {
        "methodConfig": [
            {"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "1000s"}}
        ]
    },
}
PHASES = ["connecting", "under way", "in its responses", "between attempts"]
ENDS = ["cancel", "close"]

CASES = [
    pytest.param(kind, phase, config, end, id=f"{kind}-{phase}-{config}-{end}")
    for kind in KINDS
    for phase in PHASES
    for config in CONFIGS
    for end in ENDS
    if kind.endswith("stream") or (phase != "in its responses" and config != "limited")
    if phase != "between attempts" or config in {"retried", "limited"}
]


def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
    """Do what the metadata says: hold the RPC, give one response and hold it, or fail."""
    wanted = dict(context.invocation_metadata()).get("phase")
    if wanted == "between attempts":
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    if wanted == "in its responses":
        yield b"first"
    over = threading.Event()
    if context.add_callback(over.set):
        over.wait(TIMEOUT)
    yield from requests


@pytest.fixture(scope="module")
def server() -> Iterator[Backend]:
    with Backend(serving(answer)) as backend:
        yield backend


class Ends(Observer):
    """Takes note of attempts that have ended."""

    def __init__(self) -> None:
        self.seen = False

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        self.seen = True


def told(error: BaseException) -> tuple[object, ...]:
    if isinstance(error, grpc.RpcError):
        failed: Any = error
        return ("RpcError", failed.code(), failed.details())
    return (type(error).__name__, str(error))


def asked(question: Callable[[], object]) -> object:
    try:
        return question()
    except Exception as error:  # noqa: BLE001
        return told(error)


class Sync:
    """One RPC of a sync channel, in a phase.

    Args:
        ends: Of the channel's attempts. None: it is one of grpc's own.
    """

    def __init__(
        self, channel: Any, kind: str, phase: str, server: Backend, ends: Ends | None = None
    ) -> None:
        self._channel = channel
        self._kind = kind
        before = len(server.received)
        multicallable = getattr(EchoStub(channel), KINDS[kind][0])
        make = multicallable.future if kind.endswith("unary") else multicallable
        self._going_on = threading.Event()
        argument = self._requests() if kind.startswith("stream") else Message(data=b"x")
        self.call = make(
            argument, timeout=TIMEOUT, metadata=(("phase", phase),), wait_for_ready=True
        )
        self.told: list[object] = []
        self.call.add_done_callback(self.told.append)
        if phase != "connecting":
            wait_for(lambda: len(server.received) > before)
        if phase == "in its responses":
            assert next(self.call) == Message(data=b"first")
        if phase == "between attempts":
            wait_for(lambda: ends.seen if ends is not None else not server.in_flight)
            # It waits for the step that judges the attempt.
            assert not self.call.done()

    def _requests(self) -> Iterator[Message]:
        yield Message(data=b"x")
        self._going_on.wait(TIMEOUT)

    def end(self, how: str) -> list[object]:
        call = self.call
        answers = [call.cancel(), call.cancel()] if how == "cancel" else [self._channel.close()]
        self._going_on.set()
        with suppress(Exception):
            call.result(TIMEOUT)
        answers += [
            asked(question)
            for question in (
                lambda: call.result(TIMEOUT),
                lambda: told(call.exception(TIMEOUT)),
                call.code,
                call.details,
                call.cancelled,
                call.done,
                call.running,
                call.is_active,
                call.cancel,
                lambda: tuple(call.trailing_metadata()),
            )
        ]
        if self._kind.endswith("stream"):
            answers += [asked(lambda: next(call)), asked(lambda: next(call))]
        wait_for(lambda: self.told)
        return [*answers, self.told == [call]]


@pytest.fixture(scope="module")
def of_grpc() -> dict[tuple[str, ...], list[object]]:
    """How calls on plain channels ended, by shell, kind, phase and end."""
    return {}


@pytest.mark.parametrize(("kind", "phase", "config", "end"), CASES)
def test_a_sync_call_ends_as_grpcs(
    kind: str,
    phase: str,
    config: str,
    end: str,
    server: Backend,
    of_grpc: dict[tuple[str, ...], list[object]],
) -> None:
    address = NOBODY if phase == "connecting" else server.address
    case = ("sync", kind, phase, end)
    if case not in of_grpc:
        with grpc.insecure_channel(address, OF_GRPC) as plain:
            of_grpc[case] = Sync(plain, kind, phase, server).end(end)
    ends = Ends()
    with client_resolver.insecure_channel(
        f"static:///{address}", service_config=CONFIGS[config], observers=[ends]
    ) as channel:
        assert Sync(channel, kind, phase, server, ends).end(end) == of_grpc[case]


async def awaited(question: Callable[[], Any]) -> object:
    try:
        return await question()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        return told(error)


class Aio:
    """One RPC of an aio channel."""

    def __init__(self, channel: Any, kind: str) -> None:
        self._channel = channel
        self._kind = kind
        self._going_on = asyncio.Event()

    async def start(self, phase: str, server: Backend, ends: Ends | None = None) -> None:
        kind, before = self._kind, len(server.received)
        multicallable = getattr(EchoStub(self._channel), KINDS[kind][0])
        argument = self._requests() if kind.startswith("stream") else Message(data=b"x")
        self.call = multicallable(
            argument, timeout=TIMEOUT, metadata=(("phase", phase),), wait_for_ready=True
        )
        self.told: list[object] = []
        self.call.add_done_callback(self.told.append)
        if phase == "connecting":
            await asyncio.sleep(0)
        else:
            await eventually(lambda: len(server.received) > before)
        if phase == "in its responses":
            assert await self.call.read() == Message(data=b"first")
        if phase == "between attempts":
            await eventually(lambda: ends.seen if ends is not None else not server.in_flight)

    async def _requests(self) -> AsyncIterator[Message]:
        yield Message(data=b"x")
        await self._going_on.wait()

    async def end(self, how: str) -> list[object]:
        call = self.call
        if how == "cancel":
            answers = [call.cancel(), call.cancel()]
        else:
            answers = [await self._channel.close()]

        async def response() -> object:
            return await call

        async def responses() -> list[object]:
            return [one async for one in call]

        if self._kind.endswith("unary"):
            answers += [await awaited(response), await awaited(response)]
        else:
            answers += [await awaited(call.read), await awaited(call.read)]
        answers += [await awaited(call.code), await awaited(call.details)]
        answers += [call.cancelled(), call.done(), call.cancel()]
        answers += [tuple(await call.trailing_metadata())]
        await eventually(lambda: self.told)
        self._going_on.set()
        return [*answers, self.told == [call]]


@pytest.mark.parametrize(("kind", "phase", "config", "end"), CASES)
async def test_an_aio_call_ends_as_grpcs(
    kind: str,
    phase: str,
    config: str,
    end: str,
    server: Backend,
    of_grpc: dict[tuple[str, ...], list[object]],
) -> None:
    address = NOBODY if phase == "connecting" else server.address
    case = ("aio", kind, phase, end)
    if case not in of_grpc:
        async with grpc.aio.insecure_channel(address, options=OF_GRPC) as plain:
            call = Aio(plain, kind)
            await call.start(phase, server)
            of_grpc[case] = await call.end(end)
    ends = Ends()
    async with aio.insecure_channel(
        f"static:///{address}", service_config=CONFIGS[config], observers=[ends]
    ) as channel:
        call = Aio(channel, kind)
        await call.start(phase, server, ends)
        assert await call.end(end) == of_grpc[case]
