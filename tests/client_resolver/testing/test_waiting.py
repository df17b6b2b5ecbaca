"""Waiting, and a client's tests as the package's users write them."""

import asyncio
import threading
from typing import Any

import pytest

import client_resolver
from client_resolver import testing
from client_resolver.core.model import Connectivity


def ask(channel: Any) -> Any:
    """Make an RPC; with aio, it is to be awaited."""
    return channel.unary_unary("/a.B/C")(b"x", timeout=20)


def test_waiting_returns_what_the_condition_gave() -> None:
    answers = iter([None, 0, "", "found"])
    assert testing.wait_for(lambda: next(answers)) == "found"


async def test_waiting_on_a_loop_returns_what_the_condition_gave() -> None:
    answers = iter([None, 0, "", "found"])
    assert await testing.eventually(lambda: next(answers)) == "found"


def test_what_does_not_come_to_hold_is_told_with_what_it_was_last() -> None:
    with pytest.raises(TimeoutError, match=r"still \[\] after 0\.01 s"):
        testing.wait_for(list, timeout=0.01)


async def test_what_does_not_come_to_hold_is_told_on_a_loop_as_well() -> None:
    with pytest.raises(TimeoutError, match=r"still \[\] after 0\.01 s"):
        await testing.eventually(list, timeout=0.01)


def test_a_connected_channel_picks_among_all_backends() -> None:
    with testing.Backends(3) as backends, testing.Balancer() as balancer:
        balancer.serve("greeter", backends)
        target = balancer.target("greeter")
        with client_resolver.insecure_channel(target, policy="round_robin") as channel:
            snapshot = testing.connect(channel, 3)
            assert [one.connectivity for one in snapshot.backends] == [Connectivity.READY] * 3
            for _ in range(12):
                ask(channel)
            assert backends.calls == [4, 4, 4]
            balancer.remove("greeter", backends[0])
            testing.connect(channel, 2)
            backends.clear_calls()
            for _ in range(4):
                ask(channel)
            assert backends.calls == [0, 2, 2]


async def test_a_connected_channel_of_aio_picks_among_all_backends() -> None:
    with testing.Backends(3) as backends, testing.Balancer() as balancer:
        balancer.serve("greeter", backends)
        target = balancer.target("greeter")
        async with client_resolver.aio.insecure_channel(target, policy="round_robin") as channel:
            await testing.connect_aio(channel, 3)
            for _ in range(12):
                await ask(channel)
            assert backends.calls == [4, 4, 4]


def test_too_few_backends_are_told_with_the_channels_state() -> None:
    with (
        testing.Backends(1) as backends,
        client_resolver.insecure_channel(backends.target) as channel,
        pytest.raises(TimeoutError, match=rf"2 backends wanted.*{backends[0].address}"),
    ):
        testing.connect(channel, 2, timeout=0.2)


async def test_too_few_backends_are_told_with_the_state_of_a_channel_of_aio() -> None:
    with testing.Backends(1) as backends:
        async with client_resolver.aio.insecure_channel(backends.target) as channel:
            with pytest.raises(TimeoutError, match=rf"2 backends wanted.*{backends[0].address}"):
                await testing.connect_aio(channel, 2, timeout=0.2)


def test_servers_leave_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with testing.Backends(2) as backends, testing.Balancer() as balancer:
        balancer.serve("greeter", backends)
        with client_resolver.insecure_channel(balancer.target("greeter")) as channel:
            testing.connect(channel, 2)
    testing.wait_for(lambda: set(threading.enumerate()) <= before)


async def test_a_balancer_that_comes_back_is_found_again() -> None:
    with testing.Backends(2) as backends, testing.Balancer() as balancer:
        balancer.serve("greeter", backends[:1])
        target = balancer.target("greeter")
        async with client_resolver.aio.insecure_channel(
            target, watch_backoff=(0.01, 0.05)
        ) as channel:
            await testing.connect_aio(channel, 1)
            assert channel.snapshot().stale_for == 0
            await asyncio.to_thread(balancer.stop)
            await testing.eventually(lambda: channel.snapshot().balancer)
            assert await ask(channel) == b"x"
            assert await testing.eventually(lambda: channel.snapshot().stale_for) > 0
            balancer.serve("greeter", backends)
            balancer.restart()
            await testing.connect_aio(channel, 2)
            assert channel.snapshot().stale_for == 0
