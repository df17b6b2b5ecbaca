"""What can be asked of a call is answered as by the call of a plain channel of grpc's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import aio, testing

CONFIGS = [
    None,
    {"loadBalancingPolicy": "peak_ewma"},
    {
        "methodConfig": [
            {
                "name": [{}],
                "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "20s"},
            }
        ]
    },
]
"""Of RPCs that are a call on a connection, that are more, and that may have several attempts."""


@pytest.fixture
def server() -> Iterator[testing.Backend]:
    with testing.Backends(1) as backends:
        yield backends[0]


def told(error: BaseException) -> tuple[object, ...]:
    if isinstance(error, grpc.RpcError):
        failed: Any = error
        # grpc's core sets this around the text, or not: whichever end is first to close the stream.
        details = str(failed.details())
        if details.startswith("Stream removed (") and details.endswith(")"):
            details = details.removeprefix("Stream removed (")[:-1]
        return ("RpcError", failed.code(), details)
    return (type(error).__name__, str(error))


def asked(*questions: Callable[[], object]) -> list[object]:
    answers: list[object] = []
    for question in questions:
        try:
            answers.append(question())
        except Exception as error:  # noqa: BLE001
            answers.append(told(error))
    return answers


def after_its_end(call: Any) -> list[object]:
    with suppress(Exception):
        call.result(20)
    return asked(
        lambda: call.result(20),
        lambda: call.result(0),
        lambda: told(call.exception(20)),
        lambda: type(call.traceback(20)).__name__,
        call.code,
        call.details,
        call.done,
        call.running,
        call.cancelled,
        call.cancel,
        call.is_active,
        lambda: type(call.initial_metadata()).__name__,
        lambda: type(call.trailing_metadata()).__name__,
        lambda: call.time_remaining() is None,
    )


def succeeded(channel: Any, _server: testing.Backend) -> list[object]:
    call = channel.unary_unary("/echo.Echo/Unary").future(b"x")
    return [*after_its_end(call), call.add_callback(print)]


def failed(channel: Any, server: testing.Backend) -> list[object]:
    server.fail(grpc.StatusCode.NOT_FOUND, "nothing here")
    return after_its_end(channel.unary_unary("/echo.Echo/Unary").future(b"x", timeout=20))


def cancelled(channel: Any, server: testing.Backend) -> list[object]:
    server.hang()
    call = channel.unary_unary("/echo.Echo/Unary").future(b"x", timeout=20)
    before = asked(lambda: call.result(0.01), call.done, call.running, call.cancel)
    return before + after_its_end(call)


def with_its_call(channel: Any, _server: testing.Backend) -> list[object]:
    response, call = channel.stream_unary("/echo.Echo/Unary").with_call(iter([b"x"]), timeout=20)
    return [response, call.code(), call.details(), call.is_active(), call.cancel()]


def not_serialized(channel: Any, _server: testing.Backend) -> list[object]:
    def serializer(_: object) -> bytes:
        raise LookupError

    call = channel.unary_unary("/echo.Echo/Unary", serializer)
    return asked(lambda: call(b"x", timeout=20), lambda: call.with_call(b"x", timeout=20))


def not_deserialized(channel: Any, _server: testing.Backend) -> list[object]:
    def deserializer(_: object) -> bytes:
        raise LookupError

    call = channel.unary_unary("/echo.Echo/Unary", None, deserializer)
    return asked(lambda: call(b"x", timeout=20)) + after_its_end(call.future(b"x", timeout=20))


def requests_that_fail(channel: Any, _server: testing.Backend) -> list[object]:
    def requests() -> Iterator[bytes]:
        yield b"x"
        raise LookupError

    return asked(
        lambda: channel.stream_unary("/echo.Echo/Unary")(requests(), timeout=20),
        lambda: list(channel.stream_stream("/echo.Echo/Bidi")(requests(), timeout=20))[1:],
    )


def read_on_after_the_end(channel: Any, server: testing.Backend) -> list[object]:
    call = channel.unary_stream("/echo.Echo/Feed")(b"x", timeout=20)
    answers = asked(lambda: list(call), lambda: next(call, "over"), call.code, call.cancel)
    server.hang()
    call = channel.unary_stream("/echo.Echo/Feed")(b"x", timeout=20)
    return answers + asked(call.cancel, lambda: next(call), lambda: next(call), call.code)


def bad_arguments(channel: Any, _server: testing.Backend) -> list[object]:
    call: Any = channel.unary_unary("/echo.Echo/Unary")
    return asked(
        lambda: call(b"x", metadata=5),
        lambda: call(b"x", timeout=-1),
    )


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "asks",
    [
        succeeded,
        failed,
        cancelled,
        with_its_call,
        not_serialized,
        not_deserialized,
        requests_that_fail,
        read_on_after_the_end,
        bad_arguments,
    ],
)
def test_sync_calls_answer_as_grpcs_own(
    asks: Callable[[Any, testing.Backend], list[object]], config: Any, server: testing.Backend
) -> None:
    with grpc.insecure_channel(server.address) as plain:
        wanted = asks(plain, server)
    server.recover()
    target = f"static:///{server.address}"
    with client_resolver.insecure_channel(target, service_config=config) as channel:
        testing.connect(channel, 1)
        assert asks(channel, server) == wanted


async def awaited(*questions: Callable[[], Any]) -> list[object]:
    answers: list[object] = []
    for question in questions:
        try:
            answer = question()
            answers.append(await answer if isinstance(answer, Awaitable) else answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            answers.append(told(error))
    return answers


async def items(*requests: bytes) -> AsyncIterator[bytes]:
    for request in requests:
        yield request


async def collected(call: Any) -> list[bytes]:
    return [response async for response in call]


async def awaited_twice(channel: Any, _server: testing.Backend) -> list[object]:
    call = channel.unary_unary("/echo.Echo/Unary")(b"x", timeout=20)
    ends = (call.code, call.details, call.done, call.cancelled, call.cancel)
    return await awaited(lambda: call, lambda: call, *ends, call.wait_for_connection)


async def failed_twice(channel: Any, server: testing.Backend) -> list[object]:
    server.fail(grpc.StatusCode.NOT_FOUND, "nothing here")
    call = channel.unary_unary("/echo.Echo/Unary")(b"x", timeout=20)
    ends = (call.code, call.details, call.done, call.cancelled, call.cancel)
    return await awaited(lambda: call, lambda: call, *ends, call.wait_for_connection)


async def cancelled_twice(channel: Any, server: testing.Backend) -> list[object]:
    server.hang()
    call = channel.unary_unary("/echo.Echo/Unary")(b"x", timeout=20)
    await asyncio.to_thread(server.wait_for_in_flight, 1)
    ends = (call.code, call.details, call.done, call.cancelled)
    return await awaited(call.cancel, lambda: call, lambda: call, call.cancel, *ends)


async def written_and_iterated(channel: Any, server: testing.Backend) -> list[object]:
    call = channel.stream_stream("/echo.Echo/Bidi")(timeout=20)
    answers = await awaited(
        lambda: call.write(b"1"),
        call.read,
        lambda: collected(call),
        call.done_writing,
        call.done_writing,
        call.read,
        call.read,
        call.code,
        lambda: call.write(b"2"),
    )
    server.hang()
    # One that the server doesn't end: which of the two comes first would decide what is told.
    other = channel.stream_stream("/echo.Echo/Bidi")(timeout=20)
    return answers + await awaited(other.done_writing, lambda: other.write(b"2"), other.cancel)


async def iterated_and_written(channel: Any, _server: testing.Backend) -> list[object]:
    call = channel.stream_stream("/echo.Echo/Bidi")(items(b"1", b"2"), timeout=20)
    return await awaited(
        lambda: call.write(b"3"),
        call.done_writing,
        lambda: collected(call),
        lambda: collected(call),
        call.read,
        call.code,
    )


async def requests_that_raise(channel: Any, _server: testing.Backend) -> list[object]:
    async def requests() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError

    call = channel.stream_unary("/echo.Echo/Unary")(requests(), timeout=20)
    return await awaited(lambda: call, call.code, call.details, call.cancelled)


async def bad_arguments_of_aio(channel: Any, _server: testing.Backend) -> list[object]:
    call: Any = channel.unary_unary("/echo.Echo/Unary")
    return await awaited(
        lambda: call(b"x", metadata=5),
        lambda: call(b"x", timeout=-1).code(),
    )


async def used_after_close(channel: Any, _server: testing.Backend) -> list[object]:
    await channel.close()
    closed = grpc.ChannelConnectivity.SHUTDOWN
    return await awaited(
        lambda: channel.unary_unary("/echo.Echo/Unary")(b"x"),
        channel.get_state,
        channel.channel_ready,
        lambda: channel.wait_for_state_change(closed),
        channel.close,
    )


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "asks",
    [
        awaited_twice,
        failed_twice,
        cancelled_twice,
        written_and_iterated,
        iterated_and_written,
        requests_that_raise,
        bad_arguments_of_aio,
        used_after_close,
    ],
)
async def test_aio_calls_answer_as_grpcs_own(
    asks: Callable[[Any, testing.Backend], Awaitable[list[object]]],
    config: Any,
    server: testing.Backend,
) -> None:
    async with grpc.aio.insecure_channel(server.address) as plain:
        wanted = await asks(plain, server)
    server.recover()
    target = f"static:///{server.address}"
    async with aio.insecure_channel(target, service_config=config) as channel:
        await testing.connect_aio(channel, 1)
        assert await asks(channel, server) == wanted
