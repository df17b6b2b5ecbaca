"""How an RPC ends that is cancelled or given up: as in plain grpc, and alike in both shells."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from client_resolver.testing import Backends, eventually
from tests.conformance.clients import AioClient, Call, Client, SyncClient
from tests.conformance.fleet import (
    KINDS,
    TIMEOUT,
    attempts,
    code_of,
    details_of,
    failure,
    for_all,
    retrying,
    serving,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

NEVER = "1000s"
WAITING = retrying(initialBackoff=NEVER, maxBackoff=NEVER)
HEDGING = for_all(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": NEVER})


class Plain:
    """A channel of grpc's own behind the same face, to one backend."""

    def __init__(self, shell: str, address: str, config: dict[str, object]) -> None:
        options = [("grpc.service_config", json.dumps(config)), ("grpc.enable_http_proxy", 0)]
        self.client: Client
        if shell == "sync":
            self.client = SyncClient.__new__(SyncClient)
            self.client.channel = grpc.insecure_channel(address, options)
        else:
            self.client = AioClient.__new__(AioClient)
            self.client.channel = grpc.aio.insecure_channel(address, options)


def tried_once(backends: Backends) -> bool:
    return attempts(backends) == 1 and not backends[0].in_flight


def named(error: BaseException) -> tuple[object, ...]:
    if isinstance(error, grpc.RpcError):
        return "RpcError", code_of(error), details_of(error)
    return (type(error).__name__,)


async def cancelled(one: Call, kind: str) -> list[object]:
    """Cancel an RPC, and return all that can be asked of it then."""
    call = one.call
    seen: list[object] = [call.done(), call.cancelled(), call.cancel()]
    seen += [await one.code(), await one.details()]
    await eventually(call.done)
    seen += [call.cancelled(), call.cancel(), list(await one.trailing())]
    try:
        seen.append(await (one.response() if kind.endswith("unary") else one.read()))
    except (grpc.RpcError, grpc.FutureCancelledError, asyncio.CancelledError) as error:
        seen.append(named(error))
    return seen


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_while_a_retry_waits_it_ends_as_in_plain_grpc(
    kind: str, shell: str, fleet: Fleet, connect: Connect
) -> None:
    ends = []
    for ours in (True, False):
        backends = fleet(1)
        backends[0].fail()
        if ours:
            client = connect(backends.target, service_config=WAITING)
        else:
            client = Plain(shell, backends[0].address, WAITING).client
        one = client.start(kind, *KINDS[kind], timeout=TIMEOUT)
        await eventually(partial(tried_once, backends))
        # The attempt has ended at its server: what the client makes of that comes a moment later.
        await asyncio.sleep(0.1)
        ends.append(await cancelled(one, kind))
        assert attempts(backends) == 1
        await client.close()
    assert ends[0] == ends[1]
    assert ends[0][3:5] == [grpc.StatusCode.CANCELLED, "Locally cancelled by application!"]


@pytest.mark.parametrize("kind", ["unary_stream", "stream_stream"])
@pytest.mark.parametrize("config", [{}, retrying(), HEDGING], ids=["plain", "retried", "hedged"])
async def test_cancelled_in_the_middle_of_a_stream_it_ends_as_in_plain_grpc(
    kind: str, config: dict[str, object], shell: str, fleet: Fleet, connect: Connect
) -> None:
    ends = []
    for ours in (True, False):
        over = threading.Event()

        def half(
            requests: Iterator[bytes],
            context: grpc.ServicerContext,
            over: threading.Event = over,
        ) -> Iterable[bytes]:
            context.add_callback(over.set)
            yield next(requests)
            over.wait(TIMEOUT)

        backends = fleet(1, serving(half))
        if ours:
            client = connect(backends.target, service_config=config)
        else:
            client = Plain(shell, backends[0].address, {}).client
        one = client.start(kind, *KINDS[kind], timeout=TIMEOUT)
        assert await one.read() == b"x"
        ends.append(await cancelled(one, kind))
        # The server hears of it.
        assert await asyncio.to_thread(over.wait, TIMEOUT)
        assert attempts(backends) == 1
        await client.close()
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_policy_gives_up_says_so_in_the_same_words_in_both_shells(
    kind: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    backends[0].hang()
    config = retrying(maxAttempts=2, perAttemptRecvTimeout="0.2s")
    client = connect(backends.target, service_config=config)
    error: Any = await failure(client, kind)
    why = "no response within the 0.2 s of an attempt"
    before = f"{backends[0].address} (DEADLINE_EXCEEDED: {why})"
    assert code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(error) == f"{backends.target}: {why}; tried before: {before}"


async def test_a_deadline_between_attempts_is_told_in_the_same_words_in_both_shells(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(1)
    backends[0].fail(details="not now")
    client = connect(backends.target, service_config=WAITING)
    error = await failure(client, timeout=2)
    assert code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(error) == (
        f"{backends.target}: the deadline passed before the next attempt;"
        f" tried before: {backends[0].address} (UNAVAILABLE: not now)"
    )
