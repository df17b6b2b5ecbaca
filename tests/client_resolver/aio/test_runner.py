"""Several attempts at an RPC, for every kind of RPC and every style."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from client_resolver import ChannelSnapshot, Observer
from client_resolver.aio.method import Method
from client_resolver.core.model import Connectivity
from client_resolver.telemetry.observer import Attempt
from tests.client_resolver.aio.kinds import KINDS, RESPONSES, STYLES, finish, start, until
from tests.client_resolver.aio.scripted import BOUND, Scripted, fail

Start = Callable[[], Scripted]
Connect = Callable[..., Any]


def retrying(**more: Any) -> dict[str, Any]:
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.001s",
        "maxBackoff": "0.001s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
        **more,
    }
    return {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}


def at_rest(channel: Any) -> bool:
    """Whether nothing of any RPC is counted any more."""
    now: ChannelSnapshot = channel.snapshot()
    counts = (now.breaker_requests, now.breaker_pending, now.breaker_retries, now.waiting_calls)
    return not any(counts) and not now.in_flight


def all_ready(channel: Any) -> bool:
    """Whether the next RPCs may go to any of the backends."""
    snapshot = channel.snapshot()
    ready = [backend.connectivity is Connectivity.READY for backend in snapshot.backends]
    return all(ready) and snapshot.settled


async def connected(start_server: Start, connect: Connect, count: int, **kwargs: Any) -> Any:
    """Return a channel to servers that share one script, ready on all of them."""
    servers = [start_server() for _ in range(count)]
    for one in servers:
        one.script = servers[0].script
    channel = connect(*servers, **kwargs)
    await channel.channel_ready()
    await until(lambda: all_ready(channel))
    return channel, servers


@pytest.mark.parametrize(("kind", "style"), STYLES)
async def test_a_failed_attempt_is_repeated_on_the_other_backend(
    kind: str, style: str, server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 2, service_config=retrying())
    servers[0].script.append(fail("UNAVAILABLE"))
    call = start(channel, kind, style)
    assert await finish(call, kind, style) == RESPONSES[kind]
    assert await call.code() is grpc.StatusCode.OK
    assert [one.calls for one in servers] == [1, 1]
    assert call.done()
    assert at_rest(channel)


async def test_an_attempt_after_the_first_tells_how_many_there_were(
    server: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    bind = Method.bind

    # grpc's servers keep this name from their handlers.
    def noting(self: Any, backend: grpc.aio.Channel) -> Callable[..., Any]:
        multicallable = bind(self, backend)

        def call(*args: Any, **kwargs: Any) -> Any:
            sent.append(kwargs["metadata"])
            return multicallable(*args, **kwargs)

        self.bound[backend] = call
        return call

    monkeypatch.setattr(Method, "bind", noting)
    channel, servers = await connected(server, connect, 2, service_config=retrying())
    servers[0].script.append(fail("UNAVAILABLE"))
    await start(channel, "unary_unary", metadata=(("k", "v"),))
    assert sent == [(("k", "v"),), (("k", "v"), ("grpc-previous-rpc-attempts", "1"))]


async def test_an_attempt_whose_requests_broke_off_is_repeated_and_no_cancellation(
    server: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixin = grpc.aio._call._StreamRequestMixin  # type: ignore[attr-defined]
    done_writing = mixin._done_writing
    broken: list[object] = []

    async def break_off(self: Any) -> None:
        # What grpc raises when the connection is lost in the moment of the last request.
        if not broken:
            broken.append(self)
            raise grpc._cython.cygrpc.InternalError("Failed send_receive_close")  # type: ignore[attr-defined]
        await done_writing(self)

    monkeypatch.setattr(mixin, "_done_writing", break_off)
    channel, _ = await connected(server, connect, 2, service_config=retrying())
    call = start(channel, "stream_unary")
    assert await finish(call, "stream_unary") == RESPONSES["stream_unary"]
    assert broken
    assert await call.code() is grpc.StatusCode.OK
    assert at_rest(channel)


# grpc.aio has no initial metadata of a unary-unary RPC before its end.
@pytest.mark.parametrize("kind", list(KINDS)[1:])
async def test_initial_metadata_is_there_before_the_first_response(
    kind: str, server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 1, service_config=retrying())

    def step(context: grpc.ServicerContext) -> None:
        context.send_initial_metadata((("initial", "1"),))
        servers[0].release.wait(BOUND)

    servers[0].script.append(step)
    call = start(channel, kind)
    metadata = await asyncio.wait_for(call.initial_metadata(), BOUND)
    assert dict(metadata)["initial"] == "1"
    assert not call.done()
    servers[0].release.set()
    assert await finish(call, kind) == RESPONSES[kind]


async def test_an_iterator_of_requests_that_fails_ends_the_rpc(
    server: Start, connect: Connect
) -> None:
    channel, _ = await connected(server, connect, 2, service_config=retrying())

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError

    call = channel.stream_unary("/t.S/SU")(requests(), timeout=20)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert at_rest(channel)


async def test_no_task_is_made_for_a_unary_rpc_whose_first_attempt_succeeds(
    server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 1, service_config=retrying())
    servers[0].script.append(servers[0].hold)
    before = asyncio.all_tasks()
    call = start(channel, "unary_unary")
    await asyncio.to_thread(servers[0].entered.acquire)
    made = asyncio.all_tasks() - before
    # The only one is grpc's own.
    assert len(made) == 1
    servers[0].release.set()
    assert await call == b"a"


class Watcher(Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def attempt_started(self, attempt: Attempt) -> None:
        self.seen.append(f"started {attempt.number}")

    def attempt_ended(self, attempt: Attempt, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append(f"ended {attempt.number} {code}")

    def rpc_started(self, target: str, method: str) -> None:
        self.seen.append(f"rpc {method}")

    def rpc_ended(self, target: str, method: str, code: str, seconds: float, attempts: int) -> None:
        assert seconds >= 0
        assert target.startswith("static:///")
        self.seen.append(f"rpc {method} {code} after {attempts}")


async def test_observers_are_told_of_each_attempt_and_of_the_rpc(
    server: Start, connect: Connect
) -> None:
    watcher = Watcher()
    channel, servers = await connected(
        server, connect, 2, service_config=retrying(), observers=[watcher]
    )
    servers[0].script.append(fail("UNAVAILABLE"))
    await start(channel, "unary_unary")
    assert watcher.seen == [
        "rpc /t.S/UU",
        "started 0",
        "ended 0 UNAVAILABLE",
        "started 1",
        "ended 1 OK",
        "rpc /t.S/UU OK after 2",
    ]


async def test_a_call_that_nobody_awaits_is_accounted_for_at_its_end(
    server: Start, connect: Connect
) -> None:
    ended = asyncio.Event()

    class Ends(Observer):
        def rpc_ended(self, *_: object) -> None:
            ended.set()

    channel, _ = await connected(server, connect, 1, service_config=retrying(), observers=[Ends()])
    start(channel, "unary_unary")
    await asyncio.wait_for(ended.wait(), BOUND)
    assert at_rest(channel)


@pytest.mark.parametrize("config", [{}, retrying(), retrying(perAttemptRecvTimeout="0.05s")])
async def test_rpcs_cancelled_at_random_moments_leave_nothing_behind(
    config: dict[str, Any], server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 2, service_config=config)
    rng = random.Random(7)
    kinds = list(KINDS)
    before = asyncio.all_tasks()

    async def one(number: int) -> None:
        if rng.random() < 0.2:
            servers[0].script.append(fail("UNAVAILABLE"))
        kind = kinds[number % 4]
        call = start(channel, kind)
        task = asyncio.create_task(finish(call, kind))
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)
        (call if rng.random() < 0.5 else task).cancel()
        await asyncio.wait((task,))
        # A task that is cancelled before its first step has never touched its call.
        call.cancel()
        if not task.cancelled():
            task.exception()

    for batch in range(10):
        await asyncio.gather(*(one(batch * 40 + number) for number in range(40)))
    await until(lambda: at_rest(channel) and not asyncio.all_tasks() - before)


async def test_closing_the_channel_ends_the_rpcs_that_wait_to_try_again(
    server: Start, connect: Connect
) -> None:
    config = retrying(initialBackoff="20s", maxBackoff="20s")
    watcher = Watcher()
    channel, servers = await connected(
        server, connect, 2, service_config=config, observers=[watcher]
    )
    servers[0].script.append(fail("UNAVAILABLE"))
    call = start(channel, "unary_unary", timeout=None)
    await until(lambda: "ended 0 UNAVAILABLE" in watcher.seen)
    await channel.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert watcher.seen[-1] == "rpc /t.S/UU CANCELLED after 1"


async def test_writes_go_on_where_the_attempt_before_left_off(
    server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 2, service_config=retrying())
    servers[0].script.append(fail("UNAVAILABLE"))
    call = channel.stream_stream("/t.S/SS")(timeout=20)
    await call.wait_for_connection()
    await call.write(b"a")
    assert await call.read() == b"a"
    await call.write(b"b")
    await call.done_writing()
    assert await call.read() == b"b"
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"c")


async def test_a_header_keeps_rpcs_on_one_backend(server: Start, connect: Connect) -> None:
    config = {"loadBalancingConfig": [{"ring_hash": {"requestHashHeader": "user"}}]}
    channel, servers = await connected(server, connect, 3, service_config=config)
    for _ in range(9):
        await start(channel, "unary_unary", metadata=(("user", "anna"),))
    assert sorted(one.calls for one in servers) == [0, 0, 9]


async def test_several_connections_per_backend_share_its_rpcs(
    server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 1, connections_per_backend=3)
    (one,) = servers
    async with asyncio.timeout(BOUND):
        # Those that are not connected yet are passed over.
        while len(one.peers()) < 3:
            await start(channel, "unary_unary")
    before = one.peers()
    for _ in range(6):
        assert await start(channel, "unary_unary") == b"a"
    assert one.peers() - before == dict.fromkeys(before, 2)


async def test_a_lazy_channel_connects_what_it_picks(server: Start, connect: Connect) -> None:
    servers = [server() for _ in range(3)]
    channel = connect(*servers, connect="lazy")
    assert await start(channel, "unary_unary") == b"a"
    states = [b.connectivity for b in channel.snapshot().backends]
    assert states.count(Connectivity.READY) == 1


@pytest.mark.parametrize("kind", list(KINDS))
async def test_closing_the_channel_ends_and_accounts_for_the_rpcs_on_backends(
    kind: str, server: Start, connect: Connect
) -> None:
    channel, servers = await connected(server, connect, 2, service_config=retrying())
    servers[0].script.append(servers[0].hold)
    call = start(channel, kind)
    await asyncio.to_thread(servers[0].entered.acquire)
    await channel.close()
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert call.cancelled()
    assert at_rest(channel)


@pytest.mark.parametrize("config", [{}, retrying()], ids=["plain", "retried"])
@pytest.mark.parametrize("flickers", [1, 2, 3])
async def test_a_connection_that_is_ready_again_when_it_is_looked_at_keeps_no_rpc_waiting(
    flickers: int,
    config: dict[str, Any],
    server: Start,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no other state to be told of, so that nothing would wake the RPC."""
    channel, _ = await connected(server, connect, 1, service_config=config)
    (backend,) = channel._driver.runner.machine.pool
    (own,) = backend.handle.channels
    looks = iter([grpc.ChannelConnectivity.CONNECTING, own.get_state()] * flickers)
    real = own.get_state

    def get_state(try_to_connect: bool = False) -> Any:
        return next(looks, None) or real(try_to_connect)

    monkeypatch.setattr(own, "get_state", get_state)
    assert await channel.unary_unary("/t.S/UU")(b"x", timeout=BOUND) == b"x"


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
