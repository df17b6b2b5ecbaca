"""The service config that the balancer sends."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.conformance._pb.echo_pb2 import Message
from tests.conformance.clients import Client
from tests.conformance.servers import Backend, Balancer
from tests.conformance.test_balancing import all_connected, seen_since

ROUND_ROBIN: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
OWN: list[dict[str, Any]] = [
    {"service_config": {}},
    {"options": [("grpc.service_config", "{}")]},
    {"options": [("grpc.lb_policy_name", "weighted_round_robin")]},
]


def for_all(**fields: object) -> str:
    return json.dumps({"methodConfig": [{"name": [{}], **fields}]})


async def told(
    client: Client, balancer: Balancer, servers: list[tuple[str, int]], config: str
) -> None:
    """Say a config and wait until the client has taken it in."""
    balancer.say(servers, service_config=config)
    await seen_since(client, balancer)


async def test_the_policy_is_switched_and_no_connection_dropped(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    servers = [backend(), backend()]
    weighted = [(servers[0].address, 1), (servers[1].address, 9)]
    balancer.say(weighted)
    client = connect(balancer)
    await all_connected(client, servers)
    held = client.start("unary_unary", "Hold", b"x", timeout=20)
    await told(client, balancer, weighted, json.dumps(ROUND_ROBIN))
    assert set(Counter(await client.ports(10)).values()) == {5}
    assert "round_robin" in repr(client.channel)
    assert "weighted" not in repr(client.channel)
    await told(client, balancer, weighted, "")
    counts = Counter(await client.ports(20))
    assert counts[servers[1].port] > counts[servers[0].port] * 4
    assert [len(server.peers) for server in servers] == [1, 1]
    for server in servers:
        server.release()
    assert await held.response() == b"x"


async def test_a_timeout_applies_to_the_rpcs_made_from_then_on(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    server = backend()
    servers = [(server.address, 1)]
    balancer.say(servers)
    client = connect(balancer)
    await client.ready()
    multicallable = client.stub.Hold
    unbounded = client.start("unary_unary", "Hold", b"x")
    await told(client, balancer, servers, for_all(timeout="0.05s"))
    bounded = client.start("unary_unary", "Hold", b"x")
    assert await bounded.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.RpcError) as caught:
        await outcome(multicallable(Message()) if is_aio(client) else None, multicallable)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await told(client, balancer, servers, for_all(timeout="20s"))
    later = client.start("unary_unary", "Hold", b"x")
    server.release()
    assert await later.response() == b"x"
    assert await unbounded.response() == b"x"


async def test_wait_for_ready_applies_to_the_rpcs_made_from_then_on(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.say(state="STATE_EMPTY", service_config=for_all(waitForReady=True))
    client = connect(balancer)
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    call = client.start("unary_unary", "Unary", b"x", timeout=20)
    server = backend()
    balancer.say([server.address], service_config=for_all(waitForReady=True))
    assert await call.response() == b"x"
    balancer.say(state="STATE_EMPTY")
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    with pytest.raises(grpc.RpcError, match="has no backends"):
        await client.unary(timeout=20)


async def test_retries_are_made_on_connections_opened_from_then_on(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.01s",
        "maxBackoff": "0.01s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["ABORTED"],
    }
    before, after = backend(), backend()
    balancer.say([before.address])
    client = connect(balancer)
    await all_connected(client, [before])
    balancer.say([after.address], service_config=for_all(retryPolicy=retry))
    await all_connected(client, [after])
    with pytest.raises(grpc.RpcError):
        await client.unary(b"ABORTED:no", "Fail", timeout=20)
    assert after.calls["Fail"] == 3


@pytest.mark.parametrize(
    "config", ["{", '{"loadBalancingConfig": [{"rls": {}}]}', for_all(retryPolicy={})]
)
async def test_a_config_that_cannot_be_read_is_refused_and_the_last_good_one_stays(
    config: str,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = [backend(), backend()]
    weighted = [(servers[0].address, 1), (servers[1].address, 9)]
    balancer.say(weighted, service_config=json.dumps(ROUND_ROBIN))
    client = connect(balancer)
    await all_connected(client, servers)
    with caplog.at_level(logging.WARNING, "client_resolver"):
        await told(client, balancer, weighted, config)
        await told(client, balancer, [(servers[0].address, 2), weighted[1]], config)
    assert caplog.text.count("the balancer's service config is refused") == 1
    assert "greeter.shop" in caplog.text
    assert set(Counter(await client.ports(10)).values()) == {5}


@pytest.mark.parametrize("own", OWN, ids=["argument", "option", "policy"])
async def test_a_config_of_the_channels_own_always_wins(
    own: dict[str, Any],
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    servers = [backend(), backend()]
    weighted = [(servers[0].address, 1), (servers[1].address, 9)]
    balancer.say(weighted, service_config=json.dumps(ROUND_ROBIN))
    client = connect(balancer, **own)
    await all_connected(client, servers)
    counts = Counter(await client.ports(20))
    assert counts[servers[1].port] > counts[servers[0].port] * 4


def is_aio(client: Client) -> bool:
    return isinstance(client.channel, grpc.aio.Channel)


async def outcome(call: Any, multicallable: Any) -> Any:
    """Await a call of the aio shell, or make a blocking one of the sync shell."""
    return await (call if call is not None else asyncio.to_thread(multicallable, Message()))
