"""What the balancer says, and what happens when it says nothing."""

import asyncio
import logging
from collections.abc import Callable

import grpc
import pytest

from client_resolver._pb import lookaside_pb2
from tests.conformance.clients import Client
from tests.conformance.servers import Backend, Balancer
from tests.conformance.test_balancing import all_connected


async def test_the_balancer_is_told_who_asks_and_for_what(
    balancer: Balancer, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKASIDE_ADDRESS", balancer.address)
    monkeypatch.setenv("LOOKASIDE_ZONE", "eu-1a")
    client = connect("lookaside:///greeter.shop:grpc", client_id="me", node="n7")
    assert client.stub
    call = client.start("unary_unary", "Unary", b"x")
    await asyncio.to_thread(balancer.await_requests, 1)
    call.call.cancel()
    asked = balancer.requests[0]
    assert asked.service_name == "greeter.shop:grpc"
    assert (asked.client.id, asked.client.zone, asked.client.node) == ("me", "eu-1a", "n7")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("STATE_ABSENT", "there is no such service"),
        ("STATE_EMPTY", "exists and has no backends"),
        ("STATE_UNSPECIFIED", "the list has no backends"),
    ],
)
async def test_an_empty_list_fails_rpcs_and_says_why(
    state: str, text: str, balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.say(state=state)
    with pytest.raises(grpc.RpcError) as caught:
        await connect(balancer).unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert text in str(caught.value.details())
    assert "greeter.shop" in str(caught.value.details())


async def test_weights_of_zero_alone_count_as_an_empty_list(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.say([(backend().address, 0)])
    with pytest.raises(grpc.RpcError, match="weight 0"):
        await connect(balancer).unary(timeout=20)


async def test_wait_for_ready_waits_for_a_service_to_appear(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.say(state="STATE_ABSENT")
    client = connect(balancer)
    await client.await_state(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
    call = client.start("unary_unary", "Unary", b"x", timeout=20, wait_for_ready=True)
    balancer.say([backend().address])
    assert await call.response() == b"x"


async def test_a_malformed_server_is_set_aside_and_the_rest_served(
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = backend()
    balancer.say([("nonsense", 1), (server.address, 1), ("10.0.0.1:80", -5)])
    with caplog.at_level(logging.WARNING, "client_resolver"):
        assert set(await connect(balancer).ports(4)) == {server.port}
    assert "'nonsense' is not HOST:PORT" in caplog.text
    assert "negative weight -5" in caplog.text


async def test_rpcs_go_on_without_the_balancer_and_the_client_comes_back(
    backend: Callable[[], Backend],
    new_balancer: Callable[..., Balancer],
    connect: Callable[..., Client],
) -> None:
    first, second = backend(), backend()
    balancer = new_balancer()
    balancer.say([first.address])
    client = connect(balancer)
    assert set(await client.ports(3)) == {first.port}
    await asyncio.to_thread(balancer.stop)
    assert set(await client.ports(10)) == {first.port}
    again = new_balancer(port=balancer.port)
    again.say([second.address])
    await all_connected(client, [second])


async def test_a_list_known_to_be_older_is_put_off_until_its_time_has_passed(
    backend: Callable[[], Backend],
    new_balancer: Callable[..., Balancer],
    connect: Callable[..., Client],
) -> None:
    newer, older, other = backend(), backend(), backend()
    balancer = new_balancer()
    balancer.say([newer.address], revision=("b", 7, "e"))
    client = connect(balancer, older_revision_hold=0.3)
    assert set(await client.ports(3)) == {newer.port}
    balancer.say([older.address], revision=("a", 6, "e"))
    balancer.say([older.address, other.address], revision=("c", 6, "e"))
    assert await client.port() == newer.port
    await all_connected(client, [older, other])


@pytest.mark.parametrize("revision", [("a", 6, "f"), ("a", 0, "e")])
async def test_a_list_that_cannot_be_ordered_is_taken_at_once(
    revision: tuple[str, int, str],
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    first, second = backend(), backend()
    balancer.say([first.address], revision=("b", 7, "e"))
    client = connect(balancer)
    assert set(await client.ports(3)) == {first.port}
    balancer.say([second.address], revision=revision)
    await all_connected(client, [second])


async def test_a_stale_list_is_used_and_an_empty_stale_one_changes_nothing(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    first, second = backend(), backend()
    balancer.say([first.address], state="STATE_STALE")
    client = connect(balancer)
    assert set(await client.ports(3)) == {first.port}
    balancer.say(state="STATE_STALE")
    balancer.say([second.address], state="STATE_STALE")
    await all_connected(client, [second])


@pytest.mark.parametrize(
    "code",
    [
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "UNIMPLEMENTED",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
    ],
)
async def test_a_balancer_that_refuses_fails_rpcs_with_its_text(
    code: str,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Callable[..., Client],
) -> None:
    balancer.fail(grpc.StatusCode[code], "say which port: grpc, http")
    client = connect(balancer)
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary(timeout=20)
    # Or the application would take it for what a backend answers (gRFC A54).
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert f"{code}: " in str(caught.value.details())
    assert "say which port: grpc, http" in str(caught.value.details())
    server = backend()
    balancer.say([server.address])
    await client.ready()
    assert await client.port() == server.port


async def test_a_balancer_that_refuses_takes_no_backend_away(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    server = backend()
    balancer.say([server.address])
    client = connect(balancer)
    assert await client.port() == server.port
    balancer.fail(grpc.StatusCode.PERMISSION_DENIED, "no more")
    await asyncio.to_thread(balancer.await_requests, 3)
    assert await client.port() == server.port


def large(server: Backend) -> lookaside_pb2.WatchServersResponse:
    """A list of more than 4 MiB, with one backend that gets RPCs."""
    message = lookaside_pb2.WatchServersResponse(state="STATE_PRESENT")
    message.servers.add(address=server.address, weight=1)
    for number in range(200):
        message.servers.add(address=f"10.0.0.{number}:80", metadata={"text": "x" * 25_000})
    assert message.ByteSize() > 4 * 1024 * 1024
    return message


async def test_a_list_larger_than_grpc_takes_by_default_is_taken(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    server = backend()
    balancer.publish("", large(server))
    assert await connect(balancer).port() == server.port


async def test_the_limit_of_a_list_can_be_set(
    backend: Callable[[], Backend], balancer: Balancer, connect: Callable[..., Client]
) -> None:
    balancer.publish("", large(backend()))
    options = [("grpc.max_receive_message_length", 4 * 1024 * 1024)]
    with pytest.raises(grpc.RpcError) as caught:
        await connect(balancer, balancer_options=options).unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = str(caught.value.details())
    assert "gives no list: RESOURCE_EXHAUSTED: " in details
    assert "Received message larger than max" in details
