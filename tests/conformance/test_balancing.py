"""Shares, changes of the list under load, draining, and servers that stop."""

import asyncio
from collections import Counter
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Self

import grpc
import pytest

from client_resolver import Observer
from tests.conformance.clients import Client
from tests.conformance.fleet import snapshot
from tests.conformance.servers import Backend, Balancer

ANY_KIND = [
    ("unary_unary", "Unary", b"a"),
    ("unary_stream", "ServerStream", b"a"),
    ("stream_unary", "ClientStream", [b"a"]),
    ("stream_stream", "Bidi", [b"a"]),
]


class Load:
    """RPCs of every kind, several at a time, from `start` to `stop`."""

    def __init__(self, client: Client, workers: int = 8) -> None:
        self._client = client
        self._workers = workers
        self._stopped = False
        self._progress = asyncio.Condition()
        self.done = 0
        self.failed: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(self._workers)]
        await self.progress()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _work(self, number: int) -> None:
        kind = ANY_KIND[number % len(ANY_KIND)]
        while not self._stopped:
            try:
                await self._client.collect(*kind, timeout=20)
            except grpc.RpcError as error:
                self.failed[f"{kind[0]} {error.code()}: {error.details()}"] += 1
            async with self._progress:
                self.done += 1
                self._progress.notify_all()

    async def progress(self, count: int = 50) -> None:
        """Wait until so many more RPCs have ended."""
        until = self.done + count
        async with asyncio.timeout(30), self._progress:
            await self._progress.wait_for(lambda: self.done >= until)


async def test_equal_weights_give_every_backend_its_turn(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    balancer.say([(server.address, 100) for server in servers])
    client = connect(balancer)
    await all_connected(client, servers)
    assert set(Counter(await client.ports(12)).values()) == {4}


async def test_weights_are_kept_exactly(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    weights = (5, 3, 2)
    balancer.say([(s.address, weight) for s, weight in zip(servers, weights, strict=True)])
    client = connect(balancer)
    await all_connected(client, servers)
    # The change makes a new picker, whose count begins here.
    balancer.say([(s.address, 2 * weight) for s, weight in zip(servers, weights, strict=True)])
    await seen_since(client, balancer)
    counts = Counter(await client.ports(40))
    for server, weight in zip(servers, weights, strict=True):
        assert abs(counts[server.port] - 40 * weight / 10) < 2


async def test_round_robin_ignores_weights(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend(), backend()]
    balancer.say([(servers[0].address, 1), (servers[1].address, 9)])
    options = [("grpc.lb_policy_name", "round_robin")]
    client = connect(balancer, options=options)
    await all_connected(client, servers)
    assert set(Counter(await client.ports(10)).values()) == {5}


async def test_a_weight_of_zero_gets_nothing(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend(), backend()]
    balancer.say([(servers[0].address, 1), (servers[1].address, 0)])
    client = connect(balancer)
    assert set(await client.ports(6)) == {servers[0].port}


async def test_no_rpc_fails_while_the_list_changes(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    balancer.say([server.address for server in servers[:2]])
    client = connect(balancer)
    async with Load(client) as load:
        for step in range(6):
            balancer.say([servers[i].address for i in range(3) if i != step % 3])
            await load.progress()
    assert not load.failed


async def test_no_rpc_fails_in_a_rolling_update(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    old, new = [backend(), backend()], [backend(), backend()]
    balancer.say([server.address for server in old])
    client = connect(balancer)
    async with Load(client) as load:
        balancer.say([server.address for server in (*new, old[1])])
        await left(client, old[0], load)
        await asyncio.to_thread(old[0].stop, 20)
        balancer.say([server.address for server in new])
        await left(client, old[1], load)
        await asyncio.to_thread(old[1].stop, 20)
        await load.progress()
    assert not load.failed


async def test_no_rpc_fails_when_a_server_stops_before_the_list_says_so(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    servers = [backend() for _ in range(3)]
    client = connect("static:///" + ",".join(server.address for server in servers))
    await all_connected(client, servers)
    async with Load(client) as load:
        for server in servers[:2]:
            await asyncio.to_thread(server.stop, 20)
            await load.progress()
    assert not load.failed


async def test_a_backend_that_comes_back_gets_rpcs_again(
    backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    servers = [backend(), backend()]
    client = connect(f"static:///{servers[0].address},{servers[1].address}")
    await all_connected(client, servers)
    await asyncio.to_thread(servers[0].stop)
    assert set(await client.ports(4)) == {servers[1].port}
    again = backend(port=servers[0].port)
    await all_connected(client, [again, servers[1]])


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
async def test_a_backend_that_leaves_finishes_what_it_has(
    kind: str, backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    leaving, staying = backend(), backend()
    balancer.say([leaving.address])
    client = connect(balancer)
    method = "Hold" if kind == "unary_unary" else "Feed"
    call = client.start(kind, method, b"x", timeout=20)
    if kind == "unary_stream":
        assert await call.read() == b"x"
    await asyncio.to_thread(leaving.await_entered)
    balancer.say([staying.address])
    await all_connected(client, [staying])
    assert set(await client.ports(4)) == {staying.port}
    leaving.release()
    assert await (call.response() if kind == "unary_unary" else call.read()) == b"x"
    assert await call.code() is grpc.StatusCode.OK


async def test_a_backend_that_comes_back_while_it_drains_keeps_its_connection(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    one, other = backend(), backend()
    balancer.say([one.address])
    client = connect(balancer)
    call = client.start("unary_unary", "Hold", b"x", timeout=20)
    await asyncio.to_thread(one.await_entered)
    balancer.say([other.address])
    await all_connected(client, [other])
    balancer.say([one.address])
    await all_connected(client, [one])
    one.release()
    assert await call.response() == b"x"


RETRIED = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


@pytest.mark.parametrize("features", [{}, {"observers": [Observer()]}, {"connect": "lazy"}])
@pytest.mark.parametrize(("kind", "method", "request_"), ANY_KIND)
async def test_a_drain_timeout_fails_what_takes_too_long_and_says_so(
    kind: str,
    method: str,
    request_: Any,
    features: dict[str, Any],
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    leaving, staying = backend(), backend()
    balancer.say([leaving.address])
    client = connect(balancer, drain_timeout=0.05, **features)
    await client.unary(timeout=20)
    leaving.holds = True
    call = client.start(kind, method, request_, timeout=20)
    waiting = asyncio.create_task(call.response() if kind.endswith("unary") else call.read())
    await asyncio.to_thread(leaving.await_entered)
    balancer.say([staying.address])
    with pytest.raises(grpc.RpcError) as caught:
        await waiting
    assert isinstance(caught.value, grpc.Call | grpc.aio.AioRpcError)
    text = f"{leaving.address} has left the list, and the drain timeout of 0.05 s has passed"
    for code, details in [
        (caught.value.code(), caught.value.details()),
        (await call.code(), await call.details()),
    ]:
        assert code is grpc.StatusCode.UNAVAILABLE
        # C-core's sync channels put words of their own around it.
        assert f"lookaside://{balancer.address}/greeter.shop: {text}" in str(details)
    assert not call.call.cancelled()
    assert await client.port() == staying.port


@pytest.mark.parametrize(("kind", "method", "request_"), ANY_KIND)
async def test_what_a_drain_timeout_fails_is_retried_where_the_policy_says_so(
    kind: str,
    method: str,
    request_: Any,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    leaving, staying = backend(), backend()
    balancer.say([leaving.address])
    config = {"methodConfig": [{"name": [{}], "retryPolicy": RETRIED}]}
    client = connect(balancer, drain_timeout=0.05, service_config=config)
    await client.unary(timeout=20)
    leaving.holds = True
    call = client.start(kind, method, request_, timeout=20)
    waiting = asyncio.create_task(call.response() if kind.endswith("unary") else call.read())
    await asyncio.to_thread(leaving.await_entered)
    balancer.say([staying.address])
    assert await waiting == b"a"
    assert staying.calls[method] == 1


async def test_a_stream_that_was_read_from_fails_when_the_drain_timeout_has_passed(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    leaving, staying = backend(), backend()
    balancer.say([leaving.address])
    config = {"methodConfig": [{"name": [{}], "retryPolicy": RETRIED}]}
    for service_config in (None, config):
        balancer.say([leaving.address])
        client = connect(balancer, drain_timeout=0.05, service_config=service_config)
        await client.unary(timeout=20)
        call = client.start("unary_stream", "Feed", b"x", timeout=20)
        assert await call.read() == b"x"
        await asyncio.to_thread(leaving.await_entered)
        balancer.say([staying.address])
        with pytest.raises(grpc.RpcError):
            await call.read()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert "drain timeout" in await call.details()


async def test_a_task_that_is_cancelled_while_its_rpc_drains_is_cancelled(
    shell: str, backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    if shell == "sync":
        pytest.skip("threads aren't cancelled")
    server = backend()
    balancer.say([server.address])
    client = connect(balancer, drain_timeout=20)
    await client.unary(timeout=20)
    call = client.start("unary_unary", "Hold", b"x", timeout=20)
    waiting = asyncio.create_task(call.response())
    await asyncio.to_thread(server.await_entered)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert call.call.cancelled()


async def test_rpcs_fail_at_once_when_no_backend_can_be_reached(
    backend: Callable[[], Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    await asyncio.to_thread(server.stop)
    client = connect(f"static:///{server.address}")
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.address in str(caught.value.details())
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)


async def test_wait_for_ready_waits_for_a_backend_that_cannot_be_reached(
    backend: Callable[..., Backend], connect: Callable[..., Client]
) -> None:
    server = backend()
    await asyncio.to_thread(server.stop)
    client = connect(f"static:///{server.address}")
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    call = client.start("unary_unary", "Unary", b"x", timeout=20, wait_for_ready=True)
    backend(port=server.port)
    assert await call.response() == b"x"


async def all_connected(client: Client, servers: list[Backend]) -> None:
    """Make RPCs until each of these servers, and no other, gets them."""
    ports = {server.port for server in servers}
    async with asyncio.timeout(30):
        while set(await client.ports(3 * len(ports))) != ports:
            pass


async def left(client: Client, server: Backend, load: Load) -> None:
    """Wait until a server gets no new RPC."""
    async with asyncio.timeout(30):
        while True:
            before = sum(server.calls.values())
            await load.progress()
            if sum(server.calls.values()) == before:
                return


async def seen_since(client: Client, balancer: Balancer) -> None:
    """Wait until the client has taken in what the balancer said last."""
    async with asyncio.timeout(30):
        while taken_at(client) < balancer.said_at:
            await client.port()


def taken_at(client: Client) -> float:
    """When the client took its list, on the monotonic clock, or a moment before."""
    before = monotonic()
    now = snapshot(client)
    return -inf if now.list_age is None or not now.settled else before - now.list_age


@pytest.mark.parametrize(("kind", "request_"), [("unary_stream", b"x"), ("stream_stream", [b"x"])])
async def test_a_stream_that_could_be_drained_can_be_iterated(
    kind: str,
    request_: Any,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    balancer.say([backend().address])
    client = connect(balancer, drain_timeout=20)
    method = {"unary_stream": "ServerStream", "stream_stream": "Bidi"}[kind]
    for _ in ("cold", "warm"):
        call = client.start(kind, method, request_, timeout=20).call
        if hasattr(call, "__aiter__"):
            assert [response async for response in call]
        else:
            assert await asyncio.to_thread(list, call)
