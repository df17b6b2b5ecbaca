"""Every form of call, cold and warm, with every feature, is answered as by plain grpc.

The calls go through a generated stub and carry messages. A cell is a form, an outcome and a phase;
each test makes all of them with one feature of `features.py`, and the same on a plain channel.
"""

# The servicer's methods are named as in the proto.
# ruff: noqa: N802

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

import client_resolver
from client_resolver import aio, testing
from client_resolver.config.config_fields import OBJECTS
from client_resolver.config.keywords import Keywords
from client_resolver.core.pickers import POLICIES
from tests.conformance._pb import echo_pb2_grpc
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance._pb.echo_pb2_grpc import EchoStub
from tests.conformance.features import (
    FEATURES,
    KEYWORDS,
    METHOD_CONFIGS,
    SERVICE_CONFIGS,
    Channels,
)

METHODS = {
    "unary_unary": "Unary",
    "unary_stream": "ServerStream",
    "stream_unary": "ClientStream",
    "stream_stream": "Bidi",
}
OUTCOMES = ("answered", "refused", "empty", "broken off")
PHASES = ("cold", "warm")
TIMEOUT = 20.0

Answer = dict[str, object]


class Cell(NamedTuple):
    """One call of the matrix."""

    phase: str
    kind: str
    form: str
    outcome: str


class Servicer(echo_pb2_grpc.EchoServicer):
    """Does what a request says."""

    def Unary(self, request: Message, context: grpc.ServicerContext) -> Message:
        self._answer(request, context)
        return request

    def ServerStream(self, request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
        yield from self.Bidi(iter([request] * 3), context)

    def ClientStream(self, requests: Iterator[Message], context: grpc.ServicerContext) -> Message:
        # To end a call while requests are left is another matter: grpc.aio loses the status then.
        received = list(requests)
        self._answer(received[0], context)
        return Message(data=b"".join(one.data for one in received))

    def Bidi(self, requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        received = list(requests)
        self._answer(received[0], context)
        if received[0].data == b"empty":
            return
        yield received[0]
        if received[0].data == b"broken off":
            context.abort(grpc.StatusCode.DATA_LOSS, "half way")
        yield from received[1:]

    def _answer(self, request: Message, context: grpc.ServicerContext) -> None:
        known = dict(context.invocation_metadata())
        context.set_trailing_metadata(
            (
                ("sent", str(known.get("sent"))),
                ("data-bin", b"\0\xff"),
                ("twice", "1"),
                ("twice", "2"),
            )
        )
        if request.data == b"refused":
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing here: \N{SNOWMAN}")
        if request.data != b"empty":
            # grpc.aio loses what comes together with the end of an RPC.
            context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\0")))


def requests_of(kind: str, outcome: str) -> Any:
    request = Message(data=outcome.encode())
    return [request] * 3 if kind.startswith("stream") else request


def told(metadata: Any) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata or ()]


def error_of(error: Any) -> Answer:
    return {
        "raised": "RpcError" if isinstance(error, grpc.RpcError) else repr(error),
        "code": error.code(),
        "details": error.details(),
        "initial": told(error.initial_metadata()),
        "trailing": told(error.trailing_metadata()),
    }


SENT = {"timeout": TIMEOUT, "metadata": (("sent", "1"),)}


# The forms of the sync shell: each makes a call and returns what comes of it.


def ended(call: Any) -> Answer:
    """What can be asked of a call that has ended."""
    return {
        "code of the call": call.code(),
        "details of the call": call.details(),
        "initial of the call": told(call.initial_metadata()),
        "trailing of the call": told(call.trailing_metadata()),
        "active": call.is_active(),
        "bounded": call.time_remaining() is not None,
        "cancelled": call.cancel(),
    }


def called(method: Any, request: Any) -> Answer:
    try:
        return {"response": method(request, **SENT)}
    except grpc.RpcError as error:
        return error_of(error)


def called_for_both(method: Any, request: Any) -> Answer:
    try:
        response, call = method.with_call(request, **SENT)
    except grpc.RpcError as error:
        return error_of(error)
    return {"response": response, **ended(call)}


def called_for_a_future(method: Any, request: Any) -> Answer:
    future = method.future(request, **SENT)
    answer: Answer = {"error": (future.exception(TIMEOUT) is None)}
    try:
        answer["response"] = future.result(TIMEOUT)
    except grpc.RpcError as error:
        answer |= error_of(error)
    return {**answer, **ended(future), "done": future.done(), "running": future.running()}


def iterated(method: Any, request: Any) -> Answer:
    call = method(request, **SENT)
    responses: list[Message] = []
    answer: Answer = {"responses": responses}
    try:
        responses.extend(call)
    except grpc.RpcError as error:
        answer |= error_of(error)
    return {**answer, **ended(call)}


SYNC_FORMS: dict[str, dict[str, Callable[[Any, Any], Answer]]] = {
    kind: {"iterated": iterated}
    if kind.endswith("stream")
    else {
        "__call__": called,
        "with_call": called_for_both,
        "future": called_for_a_future,
    }
    for kind in METHODS
}


# The forms of the aio shell.


async def ended_aio(call: Any) -> Answer:
    """What can be asked of a call that has ended."""
    return {
        "code of the call": await call.code(),
        "details of the call": await call.details(),
        "initial of the call": told(await call.initial_metadata()),
        "trailing of the call": told(await call.trailing_metadata()),
        "done": call.done(),
        "was cancelled": call.cancelled(),
        "cancelled": call.cancel(),
    }


async def items(requests: Iterable[Message]) -> AsyncIterator[Message]:
    for request in requests:
        yield request


async def awaited(call: Any) -> AsyncIterator[Message]:
    yield await call


async def iterated_aio(call: Any) -> AsyncIterator[Message]:
    async for response in call:
        yield response


async def read(call: Any) -> AsyncIterator[Message]:
    while (response := await call.read()) is not grpc.aio.EOF:
        yield response


READS = {"await": awaited, "iterate": iterated_aio, "read": read}
AIO_FORMS = {
    kind: [
        f"{send}, {receive}"
        for send, receive in product(
            ("iterator", "write") if kind.startswith("stream") else ("request",),
            ("iterate", "read") if kind.endswith("stream") else ("await",),
        )
    ]
    for kind in METHODS
}


async def called_aio(kind: str, form: str, method: Any, requests: Any) -> Answer:
    send, receive = form.split(", ")
    if send == "write":
        call = method(**SENT)
        for request in requests:
            await call.write(request)
        await call.done_writing()
    else:
        call = method(items(requests) if send == "iterator" else requests, **SENT)
    responses: list[Message] = []
    answer: Answer = {"responses": responses}
    try:
        async for response in READS[receive](call):
            responses.append(response)  # noqa: PERF401 (those before an error count)
    except grpc.aio.AioRpcError as error:
        answer |= error_of(error)
    return {**answer, **await ended_aio(call)}


def cells(shell: str) -> list[Cell]:
    """All calls that there are."""
    forms = SYNC_FORMS if shell == "sync" else AIO_FORMS
    return [
        Cell(phase, kind, form, outcome)
        for phase, kind, outcome in product(PHASES, METHODS, OUTCOMES)
        for form in forms[kind]
        if kind.endswith("stream") or outcome in {"answered", "refused"}
    ]


def differing(got: dict[Cell, Answer], wanted: dict[Cell, Answer]) -> dict[Cell, Answer]:
    """Of each call that is not answered as it should be: what differs, with what was wanted."""
    return {
        cell: {
            what: (got[cell].get(what), wanted[cell].get(what))
            for what in got[cell].keys() | wanted[cell].keys()
            if got[cell].get(what) != wanted[cell].get(what)
        }
        for cell in wanted
        if got[cell] != wanted[cell]
    }


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[testing.Backends, dict[bool, testing.Balancer]]]:
    """Two backends, and a balancer without and one with credentials."""
    local = grpc.local_server_credentials()
    with (
        testing.Backends(
            2, lambda server: echo_pb2_grpc.add_EchoServicer_to_server(Servicer(), server)
        ) as backends,
        testing.Balancer() as insecure,
        testing.Balancer(credentials=local) as secure,
    ):
        yield backends, {False: insecure, True: secure}


@pytest.fixture
def keywords(
    feature: str, servers: tuple[testing.Backends, dict[bool, testing.Balancer]], tmp_path: Path
) -> dict[str, Any]:
    backends, balancers = servers
    secure = feature in {"balancer_credentials", "balancer_token"}
    given = FEATURES[feature](Channels(backends, balancers[secure], tmp_path))
    return {"target": backends.target, **given}


@pytest.mark.parametrize("feature", FEATURES)
def test_sync_calls_are_answered_as_by_plain_grpc(
    keywords: dict[str, Any], servers: tuple[testing.Backends, Any]
) -> None:
    def answer(channel: grpc.Channel, cell: Cell) -> Answer:
        requests = requests_of(cell.kind, cell.outcome)
        requests = iter(requests) if cell.kind.startswith("stream") else requests
        method = getattr(EchoStub(channel), METHODS[cell.kind])
        return SYNC_FORMS[cell.kind][cell.form](method, requests)

    wanted, got = {}, {}
    with (
        grpc.insecure_channel(servers[0][0].address) as plain,
        client_resolver.insecure_channel(**keywords) as warm,
    ):
        EchoStub(warm).Unary(Message(), timeout=TIMEOUT)
        for cell in cells("sync"):
            wanted[cell] = answer(plain, cell)
            if cell.phase == "warm":
                got[cell] = answer(warm, cell)
            else:
                with client_resolver.insecure_channel(**keywords) as cold:
                    got[cell] = answer(cold, cell)
    assert differing(got, wanted) == {}


@pytest.mark.parametrize("feature", FEATURES)
async def test_aio_calls_are_answered_as_by_plain_grpc(
    keywords: dict[str, Any], servers: tuple[testing.Backends, Any]
) -> None:
    async def answer(channel: grpc.aio.Channel, cell: Cell) -> Answer:
        requests = requests_of(cell.kind, cell.outcome)
        method = getattr(EchoStub(channel), METHODS[cell.kind])
        return await called_aio(cell.kind, cell.form, method, requests)

    wanted, got = {}, {}
    async with (
        grpc.aio.insecure_channel(servers[0][0].address) as plain,
        aio.insecure_channel(**keywords) as warm,
    ):
        await EchoStub(warm).Unary(Message(), timeout=TIMEOUT)
        for cell in cells("aio"):
            wanted[cell] = await answer(plain, cell)
            if cell.phase == "warm":
                got[cell] = await answer(warm, cell)
            else:
                async with aio.insecure_channel(**keywords) as cold:
                    got[cell] = await answer(cold, cell)
    assert differing(got, wanted) == {}


def test_the_matrix_has_every_keyword_every_field_and_every_policy() -> None:
    assert KEYWORDS.keys() == Keywords.__annotations__.keys()
    assert METHOD_CONFIGS.keys() == OBJECTS["methodConfig"].keys()
    assert SERVICE_CONFIGS.keys() == OBJECTS[""].keys()
    assert {f"policy {name}" for name in POLICIES} <= FEATURES.keys()


def test_the_matrix_has_every_kind_and_every_form_of_call() -> None:
    for kind, word in [
        (kind, "".join(part.capitalize() for part in kind.split("_"))) for kind in METHODS
    ]:
        public = {
            name
            for name in dir(getattr(grpc, f"{word}MultiCallable"))
            if name == "__call__" or not name.startswith("_")
        }
        assert public == ({"__call__"} if kind.endswith("stream") else set(SYNC_FORMS[kind]))
        call = getattr(grpc.aio, f"{word}Call")
        ways = {name for name in ("__await__", "__aiter__", "read", "write") if hasattr(call, name)}
        told = {"await": "__await__", "iterate": "__aiter__"}
        forms = {way for form in AIO_FORMS[kind] for way in form.split(", ")}
        assert {told.get(form, form) for form in forms} - {"request", "iterator"} == ways
    assert set(METHODS) == {
        name for name in dir(grpc.Channel) if name.startswith(("unary_", "stream_"))
    }
    counts = {shell: len(cells(shell)) for shell in ("sync", "aio")}
    # Phases, by forms with one response and two outcomes, and forms with many and four.
    assert counts == {"sync": 2 * (6 * 2 + 2 * 4), "aio": 2 * (3 * 2 + 6 * 4)}
