"""What an application may pass, and what it gets for it, as with plain grpc: cold channels."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import aio, testing

PATH = "/echo.Echo/Unary"
TIMEOUT = 20.0


class Plugin(grpc.AuthMetadataPlugin):
    def __call__(self, context: Any, callback: Any) -> None:
        callback((("token", "1"),), None)


CREDENTIALS = grpc.metadata_call_credentials(Plugin())


@pytest.fixture(scope="module")
def server() -> Iterator[testing.Backend]:
    with testing.Backends(1) as backends:
        yield backends[0]


def told(error: BaseException) -> object:
    if isinstance(error, grpc.RpcError):
        failed: Any = error
        return failed.code(), failed.details()
    return type(error), str(error)


def asked(make: Callable[..., Any], target: str, use: Callable[[Any], Any], **given: Any) -> object:
    try:
        with make(target, **given) as channel:
            return use(channel)
    except Exception as error:  # noqa: BLE001
        return told(error)


SYNC_USES: dict[str, Callable[[Any], Any]] = {
    "credentials": lambda c: c.unary_unary(PATH)(b"x", TIMEOUT, credentials=CREDENTIALS),
    "no requests": lambda c: c.stream_unary(PATH)(5, TIMEOUT),
    "no requests, future": lambda c: c.stream_unary(PATH).future(5, TIMEOUT).result(),
    "no requests, stream": lambda c: list(c.stream_stream(PATH)(5, TIMEOUT)),
    "path of bytes": lambda c: c.unary_unary(PATH.encode())(b"x", TIMEOUT),
}


@pytest.mark.parametrize("name", SYNC_USES)
def test_sync_channels_are_used_as_grpcs_own(name: str, server: testing.Backend) -> None:
    use = SYNC_USES[name]
    wanted = asked(grpc.insecure_channel, server.address, use)
    assert asked(client_resolver.insecure_channel, f"static:///{server.address}", use) == wanted


@pytest.mark.parametrize("form", ["call", "future", "stream"])
@pytest.mark.parametrize("metadata", [5, (("k", 5),), ((5, "v"),), (("k-bin", "text"),)])
def test_sync_metadata_is_checked_at_the_call(
    metadata: Any, form: str, server: testing.Backend
) -> None:
    def use(channel: Any) -> Any:
        if form == "stream":
            return list(channel.unary_stream(PATH)(b"x", TIMEOUT, metadata))
        method = channel.unary_unary(PATH)
        return (method if form == "call" else method.future)(b"x", TIMEOUT, metadata)

    wanted = asked(grpc.insecure_channel, server.address, use)
    assert asked(client_resolver.insecure_channel, f"static:///{server.address}", use) == wanted


@pytest.mark.parametrize("shell", ["sync", "aio"])
@pytest.mark.parametrize(
    "options",
    [
        lambda: ((b"grpc.primary_user_agent", b"me"),),
        lambda: iter([("grpc.primary_user_agent", "me")]),
        lambda: [["grpc.primary_user_agent", "me"]],
        lambda: {("grpc.primary_user_agent", "me")},
    ],
)
async def test_options_are_what_grpc_takes(
    options: Callable[[], Any], shell: str, server: testing.Backend
) -> None:
    server.clear_calls()
    target = f"static:///{server.address}"
    if shell == "sync":
        with client_resolver.insecure_channel(target, options()) as channel:
            method: Any = channel.unary_unary(PATH)
            await asyncio.to_thread(method, b"x", timeout=TIMEOUT)
    else:
        async with aio.insecure_channel(target, options()) as other:
            unary: Any = other.unary_unary(PATH)
            await unary(b"x", timeout=TIMEOUT)
    (received,) = server.received
    assert str(dict(received.metadata)["user-agent"]).startswith("me ")


async def awaited(
    make: Callable[..., Any], target: str, use: Callable[[Any], Awaitable[Any]]
) -> object:
    try:
        async with make(target) as channel:
            return await use(channel)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        return told(error)


async def called_with_credentials(channel: Any) -> object:
    channel.unary_unary(PATH)(b"x", timeout=TIMEOUT, credentials=CREDENTIALS)
    return "made"


async def asked_to_connect(channel: Any) -> object:
    return channel.get_state(), channel.get_state(try_to_connect=True)


async def no_requests(channel: Any) -> object:
    return await channel.stream_unary(PATH)(5, timeout=TIMEOUT)


async def path_of_bytes(channel: Any) -> object:
    return await channel.unary_unary(PATH.encode())(b"x", timeout=TIMEOUT)


@pytest.mark.parametrize(
    "use", [called_with_credentials, asked_to_connect, no_requests, path_of_bytes]
)
async def test_aio_channels_are_used_as_grpcs_own(
    use: Callable[[Any], Awaitable[Any]], server: testing.Backend
) -> None:
    wanted = await awaited(grpc.aio.insecure_channel, server.address, use)
    assert await awaited(aio.insecure_channel, f"static:///{server.address}", use) == wanted


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
async def test_aio_writes_to_a_call_that_has_failed_fast_raise_what_it_failed_with(
    kind: str,
) -> None:
    async def use(channel: Any) -> object:
        call = getattr(channel, kind)(PATH)(timeout=TIMEOUT)
        raised = []
        for _ in range(2):
            try:
                await call.write(b"x")
            except (grpc.RpcError, asyncio.InvalidStateError) as error:
                raised.append(error)
        assert isinstance(raised[0], grpc.aio.AioRpcError)
        return raised[0].code(), told(raised[1])

    with testing.Backends(1) as backends:
        address = backends[0].address
    assert await awaited(aio.insecure_channel, f"static:///{address}", use) == await awaited(
        grpc.aio.insecure_channel, address, use
    )
