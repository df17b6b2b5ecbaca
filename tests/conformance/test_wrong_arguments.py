"""What grpc refuses of an RPC's arguments is refused so, whatever the RPC goes through.

No connection yet, retries, hedges, a breaker: none of them may swallow it, and nothing may be
counted or left of such an RPC.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest

import client_resolver
from client_resolver import ChannelSnapshot, Observer, aio, testing
from tests.conformance.fleet import RETRY, for_all
from tests.strays import Strays

TIMEOUT = 20.0
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
PATH = "/echo.Echo/Any"


class Told(Observer):
    def rpc_ended(self, *_: object) -> None:
        pass


CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "light": {"observers": [Told()]},
    "retried": {"service_config": for_all(retryPolicy=RETRY)},
    "limited": {
        "service_config": for_all(retryPolicy={**RETRY, "perAttemptRecvTimeout": "20s"}),
    },
    "hedged": {"service_config": for_all(hedgingPolicy={"maxAttempts": 2})},
    "bounded": {"service_config": {"circuitBreaker": {"maxRequests": 100}}},
}


def no_bytes(_request: object) -> bytes:
    raise ValueError("there are no bytes of this")


REFUSED: dict[str, dict[str, Any]] = {
    "timeout": {"timeout": "5"},
    "metadata": {"metadata": 5},
    "value": {"metadata": (("k", 5),)},
    "item": {"metadata": ((1, 2, 3),)},
    "compression": {"compression": "gzip"},
    "request": {"request": 5},
    "serialized": {"serializer": lambda _request: "text"},
}
SYNC_REFUSED = {
    **REFUSED,
    "credentials": {"credentials": grpc.local_channel_credentials()},
    "serializer": {"serializer": no_bytes},
}
NOT_HELD = {"request", "serialized"}
"""Where requests are streamed, plain grpc hangs (sync) or cancels the RPC (aio)."""


@pytest.fixture(scope="module")
def server() -> Iterator[testing.Backend]:
    with testing.Backends(1) as backends:
        yield backends[0]


def told(error: BaseException) -> object:
    if isinstance(error, grpc.RpcError):
        failed: Any = error
        return failed.code(), failed.details()
    return type(error)


def prepared(channel: Any, kind: str, given: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    arguments = {"timeout": TIMEOUT, **given}
    method = getattr(channel, kind)(PATH, arguments.pop("serializer", None))
    request = arguments.pop("request", b"x")
    return method, [request] if kind.startswith("stream") else request, arguments


def raised(channel: Any, kind: str, form: str, given: dict[str, Any]) -> object:
    """How an RPC is refused, and whether its call was returned before."""
    method, request, arguments = prepared(channel, kind, given)
    if kind.startswith("stream"):
        request = iter(request)
    call: Any = None
    try:
        if form == "call" and kind.endswith("unary"):
            return method(request, **arguments)
        call = (method.future if kind.endswith("unary") else method)(request, **arguments)
        return call.result() if kind.endswith("unary") else list(call)
    except Exception as error:  # noqa: BLE001
        return told(error), call is not None


def counted(channel: Any) -> int:
    now: ChannelSnapshot = channel.snapshot()
    counts = (now.breaker_requests, now.breaker_pending, now.breaker_retries, now.waiting_calls)
    return now.in_flight + sum(counts)


def idle(channel: Any) -> bool:
    return not counted(channel)


@pytest.mark.parametrize("name", SYNC_REFUSED)
@pytest.mark.parametrize("kind", KINDS)
def test_sync(kind: str, name: str, server: testing.Backend) -> None:
    if kind.startswith("stream") and name in NOT_HELD:
        return
    given = SYNC_REFUSED[name]
    for form in ("call", "future")[: 2 if kind.endswith("unary") else 1]:
        with grpc.insecure_channel(server.address) as plain:
            wanted = raised(plain, kind, form, given)
        assert isinstance(wanted, tuple)
        for config, keywords in CONFIGS.items():
            with client_resolver.insecure_channel(f"static:///{server.address}", **keywords) as one:
                for phase in ("cold", "warm"):
                    assert raised(one, kind, form, given) == wanted, (config, phase, form)
                    testing.wait_for(partial(idle, one))
                    testing.connect(one, 1)


async def raised_aio(channel: Any, kind: str, given: dict[str, Any]) -> object:
    method, request, arguments = prepared(channel, kind, given)
    try:
        call = method(request, **arguments)
        return await call if kind.endswith("unary") else [one async for one in call]
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        return told(error)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", KINDS)
async def test_aio(kind: str, name: str, server: testing.Backend) -> None:
    if kind.startswith("stream") and name in NOT_HELD:
        return
    given = REFUSED[name]
    async with grpc.aio.insecure_channel(server.address) as plain:
        wanted = await raised_aio(plain, kind, given)
    assert isinstance(wanted, type)
    for config, keywords in CONFIGS.items():
        async with aio.insecure_channel(f"static:///{server.address}", **keywords) as one:
            for phase in ("cold", "warm"):
                assert await raised_aio(one, kind, given) == wanted, (config, phase)
                await testing.eventually(partial(idle, one))
                await testing.connect_aio(one, 1)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
async def test_what_an_aio_serializer_raises_is_raised_by_the_call(
    kind: str, config: str, server: testing.Backend
) -> None:
    """grpc.aio logs it and sends an empty message instead."""
    async with aio.insecure_channel(f"static:///{server.address}", **CONFIGS[config]) as channel:
        method: Any = getattr(channel, kind)(PATH, no_bytes)
        for _ in ("cold", "warm"):
            with pytest.raises(ValueError, match="no bytes of this"):
                method(b"x", timeout=TIMEOUT)
            await testing.eventually(partial(idle, channel))
            await testing.connect_aio(channel, 1)


@pytest.mark.parametrize("kind", ["stream_unary", "stream_stream"])
def test_streamed_requests_that_are_no_bytes_end_a_sync_rpc(
    kind: str, server: testing.Backend, strays: Strays
) -> None:
    """With plain grpc it never ends: a thread of grpc's fails instead."""
    with client_resolver.insecure_channel(f"static:///{server.address}") as channel:
        ended: Any = raised(channel, kind, "call", {"request": 5})
        assert ended[0][0] is grpc.StatusCode.INTERNAL
    # grpc logs what a serializer raises.
    assert all("expected bytes, got int" in stray for stray in strays.take())


@pytest.mark.parametrize("shell", ["sync", "aio"])
@pytest.mark.parametrize("config", CONFIGS)
async def test_a_timeout_that_is_no_number_is_over_at_once(
    config: str, shell: str, server: testing.Backend
) -> None:
    """Every time: with a timeout of 0 most RPCs are answered, since grpc counts milliseconds."""
    given = {"timeout": float("nan")}
    target, keywords = f"static:///{server.address}", CONFIGS[config]
    ended: list[Any]
    if shell == "sync":
        with client_resolver.insecure_channel(target, **keywords) as one:
            ended = [raised(one, "unary_unary", "call", given)]
            testing.connect(one, 1)
            ended += [raised(one, "unary_unary", "call", given) for _ in range(20)]
        codes = [how[0][0] for how in ended]
    else:
        async with aio.insecure_channel(target, **keywords) as other:
            ended = [await raised_aio(other, "unary_unary", given)]
            await testing.connect_aio(other, 1)
            ended += [await raised_aio(other, "unary_unary", given) for _ in range(20)]
        codes = [how[0] for how in ended]
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * 21
