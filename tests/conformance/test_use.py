"""What an application may pass, and what it gets for it, as with plain grpc: cold channels."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import aio, testing
from client_resolver.sync import blocking, multicallables
from tests.conformance.fleet import RETRY, for_all

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


class Pointer:
    """What grpc takes for a pointer of its own."""

    def __int__(self) -> int:
        return 3


VALUES: tuple[object, ...] = (
    *(0, 1, -1, True, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**63),
    *("text", b"text", "", "\ud800"),
    *(1.5, 0.0, -0.5, -1.5, 2.0**63, 2.0**64, 1e300, float("nan"), float("inf"), Pointer()),
    *(None, [1], (1,), {}, object(), 1j, bytearray(b"x")),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value).partition(" at 0x")[0])
async def test_a_value_in_options_is_taken_if_grpc_takes_it(
    value: object, server: testing.Backend
) -> None:
    """With another error: one that names the argument."""

    def takes(make: Callable[..., Any], target: str) -> Any:
        try:
            return make(target, (("grpc.of_the_users", value),))
        except (TypeError, ValueError, OverflowError):
            return None

    plain = takes(grpc.aio.insecure_channel, server.address)
    ours = takes(aio.insecure_channel, f"static:///{server.address}")
    blocking = takes(client_resolver.insecure_channel, f"static:///{server.address}")
    assert (ours is None) is (blocking is None) is (plain is None)
    if plain is not None:
        assert await ours.unary_unary(PATH)(b"x", timeout=TIMEOUT) == b"x"
        await ours.close()
        await plain.close()
        blocking.close()


@pytest.mark.parametrize("form", ["call", "with_call"])
def test_metadata_of_an_iterator_goes_with_the_second_attempt_as_well(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        testing.Backends(1) as backends,
        client_resolver.insecure_channel(backends.target) as channel,
    ):
        testing.connect(channel, 1)
        backends[0].fail(grpc.StatusCode.UNAVAILABLE)

        def never_taken_up(*_: object) -> bool:
            backends.recover()
            return True

        for module in (multicallables, blocking):
            monkeypatch.setattr(module, "may_repeat", never_taken_up)
        method: Any = channel.unary_unary(PATH)
        call = method if form == "call" else method.with_call
        call(b"x", timeout=TIMEOUT, metadata=iter([("name", "value")]))
        first, second = backends[0].received
        assert ("name", "value") in first.metadata
        assert ("name", "value") in second.metadata


CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "retried": {"service_config": for_all(retryPolicy=RETRY)},
    "hedged": {"service_config": for_all(hedgingPolicy={"maxAttempts": 2})},
    "bounded": {"service_config": {"circuitBreaker": {"maxRequests": 100}}},
}
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
NOBODY = "127.0.0.1:1"


def outcome(ask: Callable[[], Any]) -> object:
    try:
        return ask()
    except grpc.RpcError as error:
        return told(error)
    except Exception as error:  # noqa: BLE001
        return type(error)


def cancelled_twice(channel: Any, kind: str, held: testing.Backend | None) -> dict[str, object]:
    method = getattr(channel, kind)(PATH)
    request: Any = iter([b"x"]) if kind.startswith("stream") else b"x"
    begin = method.future if kind.endswith("unary") else method
    call = begin(request, timeout=TIMEOUT, wait_for_ready=True)
    if held is not None:
        testing.wait_for(lambda: held.in_flight > 0)
    ended = threading.Event()
    call.add_done_callback(lambda _: ended.set())
    seen = {
        "first": call.cancel(),
        "second": call.cancel(),
        "cancelled": call.cancelled(),
        "done": call.done(),
        "running": call.running(),
        "result": outcome(lambda: call.result(TIMEOUT)),
        "exception": outcome(lambda: call.exception(TIMEOUT)),
        "code": call.code(),
        "details": call.details(),
        "initial": tuple(call.initial_metadata()),
        "trailing": tuple(call.trailing_metadata()),
        "third": call.cancel(),
        "active": call.is_active(),
        "told": ended.wait(TIMEOUT),
    }
    late = threading.Event()
    call.add_done_callback(lambda _: late.set())
    return {**seen, "told late": late.wait(TIMEOUT)}


@pytest.mark.parametrize("phase", ["connected", "waiting"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sync_call_is_cancelled_as_grpcs_own(kind: str, phase: str) -> None:
    with testing.Backends(1) as backends:
        backends[0].hang()
        held = backends[0] if phase == "connected" else None
        address = backends[0].address if phase == "connected" else NOBODY
        with grpc.insecure_channel(address) as plain:
            wanted = cancelled_twice(plain, kind, held)
        assert (wanted["first"], wanted["second"]) == (True, False)
        for config, given in CONFIGS.items():
            testing.wait_for(lambda: not backends[0].in_flight)
            with client_resolver.insecure_channel(f"static:///{address}", **given) as ours:
                assert cancelled_twice(ours, kind, held) == wanted, config


async def outcome_of(awaitable: Awaitable[Any]) -> object:
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        return told(error)


async def cancelled_aio(
    channel: Any, kind: str, held: testing.Backend | None, *, writes: bool
) -> dict[str, object]:
    given = {"timeout": TIMEOUT, "wait_for_ready": True}
    method = getattr(channel, kind)(PATH)
    if writes:
        call = method(**given)
    else:
        call = method(iter([b"x"]) if kind.startswith("stream") else b"x", **given)
    if held is not None:
        await testing.eventually(lambda: held.in_flight > 0)
    ended = asyncio.Event()
    call.add_done_callback(lambda _: ended.set())
    seen: dict[str, object] = {
        "first": call.cancel(),
        "second": call.cancel(),
        "cancelled": call.cancelled(),
        "done": call.done(),
        "code": await call.code(),
        "details": await call.details(),
        "initial": tuple(await call.initial_metadata()),
        "trailing": tuple(await call.trailing_metadata()),
        "third": call.cancel(),
    }
    if kind.endswith("unary"):
        seen["awaited"] = await outcome_of(call)
    else:
        seen["iterated"] = await outcome_of(anext(aiter(call)))
        seen["read"] = await outcome_of(call.read())
    if kind.startswith("stream"):
        seen["written"] = await outcome_of(call.write(b"x"))
        seen["ended"] = await outcome_of(call.done_writing())
        seen["ended again"] = await outcome_of(call.done_writing())
        seen["written after"] = await outcome_of(call.write(b"x"))
    late = asyncio.Event()
    call.add_done_callback(lambda _: late.set())
    async with asyncio.timeout(TIMEOUT):
        await ended.wait()
        await late.wait()
    return seen


@pytest.mark.parametrize("phase", ["connected", "waiting"])
@pytest.mark.parametrize(
    ("kind", "writes"),
    [*((kind, False) for kind in KINDS), ("stream_unary", True), ("stream_stream", True)],
)
async def test_an_aio_call_is_cancelled_as_grpcs_own(kind: str, writes: bool, phase: str) -> None:
    with testing.Backends(1) as backends:
        backends[0].hang()
        held = backends[0] if phase == "connected" else None
        address = backends[0].address if phase == "connected" else NOBODY
        async with grpc.aio.insecure_channel(address) as plain:
            wanted = await cancelled_aio(plain, kind, held, writes=writes)
        for config, given in CONFIGS.items():
            await testing.eventually(lambda: not backends[0].in_flight)
            async with aio.insecure_channel(f"static:///{address}", **given) as ours:
                seen = await cancelled_aio(ours, kind, held, writes=writes)
            assert seen == wanted, config


async def mixed(channel: Any, kind: str) -> list[object]:
    """What a call says whose responses are iterated over and read, in both orders."""
    method = getattr(channel, kind)(PATH)
    said = []
    for first in ("iterated", "read"):
        call = method(iter([b"x", b"y"]) if kind == "stream_stream" else b"x", timeout=TIMEOUT)
        if first == "iterated":
            responses = aiter(call)
            said.append(await outcome_of(call.read()))
            said.append(await outcome_of(anext(responses)))
        else:
            said.append(await outcome_of(call.read()))
            said.append(outcome(partial(aiter, call)))
        call.cancel()
    return said


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
async def test_to_iterate_and_to_read_are_mixed_by_no_call(
    kind: str, server: testing.Backend
) -> None:
    async with grpc.aio.insecure_channel(server.address) as plain:
        wanted = await mixed(plain, kind)
    for config, given in CONFIGS.items():
        async with aio.insecure_channel(f"static:///{server.address}", **given) as ours:
            for phase in ("cold", "warm"):
                assert await mixed(ours, kind) == wanted, (config, phase)
                await testing.connect_aio(ours, 1)


async def closed_while_waiting(
    make: Callable[..., Any], prefix: str, kind: str, **given: Any
) -> tuple[object, object, object]:
    """Close a channel with a call that has no connection yet; only then, the server comes."""
    with testing.Backends(1) as backends:
        address = backends[0].address
        port = int(address.rpartition(":")[2])
    soon = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100))
    channel = make(f"{prefix}{address}", soon, **given)
    method = getattr(channel, kind)(PATH)
    request: Any = iter([b"x"]) if kind.startswith("stream") else b"x"
    call = method(request, timeout=TIMEOUT, wait_for_ready=True)
    closing = asyncio.create_task(channel.close(TIMEOUT))
    await asyncio.sleep(0)
    again = outcome(lambda: method(request, timeout=TIMEOUT))
    with testing.Backend(port=port):
        if kind.endswith("unary"):
            response = await outcome_of(call)
        else:
            response = await outcome_of(anext(aiter(call)))
            await outcome_of(anext(aiter(call)))
        async with asyncio.timeout(TIMEOUT):
            await closing
    return response, await outcome_of(call.code()), again


@pytest.mark.parametrize("kind", ["unary_unary", "stream_stream"])
async def test_a_call_that_waits_for_its_connection_ends_within_the_grace_of_close(
    kind: str,
) -> None:
    wanted, *seen = await asyncio.gather(
        closed_while_waiting(grpc.aio.insecure_channel, "", kind),
        *(
            closed_while_waiting(aio.insecure_channel, "static:///", kind, **given)
            for given in CONFIGS.values()
        ),
    )
    assert wanted[:2] == (b"x", grpc.StatusCode.OK)
    assert dict(zip(CONFIGS, seen, strict=True)) == dict.fromkeys(CONFIGS, wanted)


async def test_a_grace_that_passes_and_a_second_close_cancel_what_waits() -> None:
    for second in (False, True):
        channel = aio.insecure_channel(f"static:///{NOBODY}")
        method: Any = channel.unary_unary(PATH)
        call = method(b"x", timeout=TIMEOUT, wait_for_ready=True)
        closing = asyncio.create_task(channel.close(TIMEOUT if second else 0.05))
        await asyncio.sleep(0)
        if second:
            await channel.close()
        assert await outcome_of(call) == (asyncio.CancelledError, "")
        async with asyncio.timeout(TIMEOUT):
            await closing
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
