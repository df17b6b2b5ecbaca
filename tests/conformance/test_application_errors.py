"""What the application's own code raises harms no more than the RPC that it belongs to."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from client_resolver import BasePolicy, Dialing
from tests.conformance.clients import Client
from tests.conformance.fleet import KINDS, for_all
from tests.conformance.servers import Backend, Balancer

Connect = Callable[..., Client]

CONFIGS = [None, {"loadBalancingPolicy": "peak_ewma"}]
"""Of RPCs that are but a call on the picked connection, and of those that are more."""


HEDGED = for_all(hedgingPolicy={"maxAttempts": 2, "hedgingDelay": "1000s"})


def fails(*_args: object) -> Any:
    raise LookupError("of the application")


class Failing(BasePolicy):
    """Its picker can't pick."""

    name = "failing"

    def build(self, *_args: object) -> Any:
        return self

    def pick(self, *_args: object) -> Any:
        return fails()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("warm", [True, False])
async def test_a_done_callback_that_raises_keeps_no_other_from_being_called(
    warm: bool,
    config: dict[str, str] | None,
    backend: Callable[[], Backend],
    balancer: Balancer,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = connect(balancer, service_config=config)
    server = backend()
    address = server.address
    if warm:
        balancer.say([address])
        await client.ready()
    # A call that has ended calls back at once, and raises what is raised.
    calls = [client.start("unary_unary", "Hold", b"x", timeout=20) for _ in range(2)]
    told = [threading.Event() for _ in calls]
    for call, event in zip(calls, told, strict=True):
        call.call.add_done_callback(fails)
        call.call.add_done_callback(lambda _, event=event: event.set())
    balancer.say([address])
    server.release()
    assert [await call.response() for call in calls] == [b"x", b"x"]
    for event in told:
        assert await asyncio.to_thread(event.wait, 20)
    assert "of the application" in caplog.text
    assert await client.unary(timeout=20) == b"x"


async def test_a_done_callback_that_raises_at_a_deadline_leaves_other_rpcs_alone(
    balancer: Balancer, connect: Connect
) -> None:
    client = connect(balancer)
    calls = [client.start("unary_unary", "Unary", b"x", timeout=0.1) for _ in range(3)]
    for call in calls:
        # It is called at once where the deadline has passed already.
        with suppress(LookupError):
            call.call.add_done_callback(fails)
    for call in calls:
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    balancer.say([])
    with pytest.raises(grpc.RpcError) as caught:
        await client.unary(timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_picker_that_raises_ends_the_rpcs_that_wait(
    backend: Callable[[], Backend], balancer: Balancer, connect: Connect
) -> None:
    client = connect(balancer, policy="failing", policies={"failing": lambda _: Failing()})
    calls = [client.start("unary_unary", "Unary", b"x", timeout=20) for _ in range(2)]
    balancer.say([backend().address])
    for call in calls:
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert "LookupError('of the application')" in await call.details()


class Unbuilt(BasePolicy):
    """It builds no picker."""

    name = "unbuilt"

    def build(self, *_args: object) -> Any:
        return fails()


async def test_a_policy_that_builds_no_picker_ends_the_rpcs_that_wait(
    backend: Callable[[], Backend], balancer: Balancer, connect: Connect
) -> None:
    client = connect(balancer, policy="unbuilt", policies={"unbuilt": lambda _: Unbuilt()})
    calls = [client.start("unary_unary", "Unary", b"x", timeout=20) for _ in range(2)]
    balancer.say([backend().address])
    for call in calls:
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert "'unbuilt' could not build a picker: LookupError" in await call.details()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [*CONFIGS, HEDGED])
@pytest.mark.parametrize("metadata", [(("k", 5),), ((5, "v"),), (("k-bin", "text"),), 5])
async def test_metadata_of_other_types_is_refused_as_by_grpc(
    metadata: Any,
    config: dict[str, object] | None,
    kind: str,
    backend: Callable[[], Backend],
    connect: Connect,
) -> None:
    client = connect(f"static:///{backend().address}", service_config=config)
    await client.ready()
    for _ in range(2):
        with pytest.raises(TypeError):
            await client.collect(kind, *KINDS[kind], timeout=20, metadata=metadata)
    assert client.channel.snapshot().backends[0].in_flight == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [*CONFIGS, HEDGED])
@pytest.mark.parametrize("metadata", [(("K", "v"),), (("k", "\n"),), (("", "v"),)])
async def test_metadata_that_http_can_not_carry_fails_the_rpc_alone(
    metadata: Any,
    config: dict[str, object] | None,
    kind: str,
    backend: Callable[[], Backend],
    connect: Connect,
) -> None:
    client = connect(f"static:///{backend().address}", service_config=config)
    await client.ready()
    with pytest.raises((ValueError, grpc.RpcError), match="Invalid metadata"):
        await client.collect(kind, *KINDS[kind], timeout=20, metadata=metadata)
    assert client.channel.snapshot().backends[0].in_flight == 0
    assert await client.unary(timeout=20) == b"x"


@pytest.mark.parametrize("dialing", [5, Dialing(options=(("grpc.x", object()),))])
async def test_what_no_connection_can_be_made_of_fails_that_backend_alone(
    dialing: Any, backend: Callable[[], Backend], connect: Connect
) -> None:
    servers = [backend(), backend()]

    def dial(endpoint: Any) -> Any:
        return dialing if endpoint.address.text == servers[0].address else None

    client = connect(f"static:///{servers[0].address},{servers[1].address}", dial=dial)
    assert await client.ports(4) == [servers[1].port] * 4
    assert "dial failed: TypeError: " in client.channel.snapshot().backends[0].last_error
