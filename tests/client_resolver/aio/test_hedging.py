"""Attempts side by side: the first answer counts, for every kind of RPC and every style."""

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.client_resolver.aio.kinds import KINDS, RESPONSES, STYLES, finish, start, until
from tests.client_resolver.aio.scripted import BOUND, Scripted, fail
from tests.client_resolver.aio.test_attempts import at_rest, connected

Start = Callable[[], Scripted]
Connect = Callable[..., Any]


def hedging(**more: Any) -> dict[str, Any]:
    policy = {
        "maxAttempts": 2,
        "hedgingDelay": "0.05s",
        "nonFatalStatusCodes": ["UNAVAILABLE"],
        **more,
    }
    return {"methodConfig": [{"name": [{}], "hedgingPolicy": policy}]}


@pytest.mark.parametrize(("kind", "style"), STYLES)
async def test_a_backend_that_hangs_is_joined_by_another_that_answers(
    kind: str, style: str, server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 2, service_config=hedging())
    servers[0].script.append(lambda _: servers[0].release.wait(BOUND))
    call = start(channel, kind, style)
    assert await finish(call, kind, style) == RESPONSES[kind]
    assert await call.code() is grpc.StatusCode.OK
    assert [one.calls for one in servers] == [1, 1]
    assert at_rest(channel)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_with_no_delay_all_attempts_start_at_once_on_different_backends(
    kind: str, server: Start, connect: Connect
) -> None:
    config = hedging(maxAttempts=3, hedgingDelay="0s")
    channel, servers = await connected(server, connect, 3, service_config=config)
    together = threading.Barrier(3)
    servers[0].script.extend([lambda _: together.wait(BOUND)] * 3)
    call = start(channel, kind)
    assert await finish(call, kind) == RESPONSES[kind]
    assert [one.calls for one in servers] == [1, 1, 1]


async def test_a_failure_that_is_not_fatal_starts_the_next_attempt_at_once(
    server: Start, connect: Connect
) -> None:
    config = hedging(hedgingDelay="20s")
    channel, servers = await connected(server, connect, 2, service_config=config)
    servers[0].script.append(fail("UNAVAILABLE"))
    assert await asyncio.wait_for(start(channel, "unary_unary"), 10) == b"a"
    assert [one.calls for one in servers] == [1, 1]


async def test_a_fatal_failure_ends_the_rpc(server: Start, connect: Connect) -> None:
    channel, servers = await connected(
        server, connect, 2, service_config=hedging(hedgingDelay="20s")
    )
    servers[0].script.append(fail("INTERNAL"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await start(channel, "unary_unary")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert sum(one.calls for one in servers) == 1
    assert at_rest(channel)


async def test_the_last_failure_is_the_outcome_where_all_attempts_fail(
    server: Start, connect: Connect
) -> None:
    config = hedging(hedgingDelay="20s")
    channel, servers = await connected(server, connect, 2, service_config=config)
    servers[0].script.extend([fail("UNAVAILABLE", "one"), fail("UNAVAILABLE", "two")])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await start(channel, "unary_unary")
    assert caught.value.details() == "two"
    assert at_rest(channel)


async def test_hedged_rpcs_cancelled_at_random_moments_leave_nothing_behind(
    server: Start, connect: Connect
) -> None:
    channel, servers = await connected(
        server, connect, 3, service_config=hedging(maxAttempts=3, hedgingDelay="0.001s")
    )
    rng = random.Random(11)
    before = asyncio.all_tasks()

    async def one(number: int) -> None:
        if rng.random() < 0.2:
            servers[0].script.append(fail("UNAVAILABLE"))
        kind = list(KINDS)[number % 4]
        call = start(channel, kind)
        task = asyncio.create_task(finish(call, kind))
        for _ in range(rng.randrange(20)):
            await asyncio.sleep(0)
        (call if rng.random() < 0.5 else task).cancel()
        await asyncio.wait((task,))
        call.cancel()
        if not task.cancelled():
            task.exception()

    for batch in range(10):
        await asyncio.gather(*(one(batch * 40 + number) for number in range(40)))
    await until(lambda: at_rest(channel) and not asyncio.all_tasks() - before)
