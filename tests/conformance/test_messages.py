"""Messages are the application's: nothing but their serializers looks at them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import pytest

from client_resolver import testing
from tests.conformance.clients import Client
from tests.conformance.fleet import KINDS, TIMEOUT, connected, for_all, policy, retrying

CONFIGS = {
    "plain": None,
    "tracked": policy("peak_ewma"),
    "retries": retrying(),
    "retries, bounded": retrying(perAttemptRecvTimeout="20s"),
    "hedging": for_all(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": "20s"}),
    "keyed": policy("ring_hash"),
}


class Opaque:
    """Neither hashed, compared, measured nor tested for truth."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("looked at")

    __hash__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = __contains__ = _refuse
    __lt__ = __getitem__ = __aiter__ = __await__ = _refuse


class Codec:
    """A serializer that is falsy."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __len__(self) -> int:
        return 0

    def __call__(self, message: Any) -> Any:
        return self._work(message)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
async def test_messages_are_neither_hashed_nor_compared_nor_tested_for_truth(
    shell: str,
    kind: str,
    config: Any,
    warm: bool,
    fleet: Callable[..., testing.Backends],
    connect: Callable[..., Client],
) -> None:
    client = connect(fleet(2).target, service_config=config)
    if warm:
        await connected(client, 2)
    codec = Codec(lambda message: message.data), Codec(Opaque)
    method = getattr(client.channel, kind)("/echo.Echo/Any", *codec)
    request: Any = Opaque(b"x")
    if kind.startswith("stream"):
        request = Iterated(request) if shell == "aio" else iter([request])
    if shell == "sync":
        responses = await asyncio.to_thread(waited_for, method, kind, request)
    elif kind.endswith("unary"):
        responses = [await method(request, timeout=TIMEOUT)]
    else:
        call = method(request, timeout=TIMEOUT)
        responses = [await call.read()]
    assert [type(one) for one in responses] == [Opaque]
    assert responses[0].data == b"x"


def waited_for(method: Any, kind: str, request: Any) -> list[Any]:
    called = method(request, timeout=TIMEOUT)
    return [called] if kind.endswith("unary") else list(called)


class Iterated:
    """Requests, one after another."""

    def __init__(self, *requests: Any) -> None:
        self._requests = list(requests)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not self._requests:
            raise StopAsyncIteration
        return self._requests.pop()
