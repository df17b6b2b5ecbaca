"""The load-balancing policies, by every way to choose one."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

import pytest

from client_resolver import BasePolicy, ServiceConfigError
from client_resolver.core.model import Connectivity
from client_resolver.testing import Backend, Backends, Balancer, eventually
from tests.conformance._pb.echo_pb2 import Message
from tests.conformance.clients import Client
from tests.conformance.fleet import (
    KINDS,
    SERVICE,
    call,
    calls,
    connected,
    listed,
    policy,
    snapshot,
)

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

READY = Connectivity.READY
NAMES = [
    "least_request",
    "maglev",
    "peak_ewma",
    "pick_first",
    "random",
    "ring_hash",
    "round_robin",
    "weighted_round_robin",
]
KEYED = ["maglev", "ring_hash"]


def by_config(name: str) -> dict[str, object]:
    return {"service_config": policy(name)}


def by_argument(name: str) -> dict[str, object]:
    return {"policy": name}


def by_option(name: str) -> dict[str, object]:
    return {"options": [("grpc.lb_policy_name", name)]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [by_config, by_argument, by_option])
async def test_a_policy_of_the_channels_own_carries_every_kind_of_rpc(
    name: str, way: Callable[[str], dict[str, object]], fleet: Fleet, connect: Connect
) -> None:
    client = connect(fleet(2).target, **way(name))
    for kind in KINDS:
        assert await call(client, kind) == [b"x"]
    assert snapshot(client).policy == name
    assert snapshot(client).in_flight == 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_policy_that_the_balancer_sends_carries_every_kind_of_rpc(
    name: str, fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    lister.serve(SERVICE, fleet(2), service_config=policy(name))
    client = connect(lister.target(SERVICE))
    for kind in KINDS:
        assert await call(client, kind) == [b"x"]
    assert snapshot(client).policy == name


async def test_the_argument_goes_before_the_balancers_config(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    lister.serve(SERVICE, fleet(1), service_config=policy("random"))
    client = connect(lister.target(SERVICE), policy={"least_request": {"choiceCount": 3}})
    await calls(client, 1)
    assert snapshot(client).policy == "least_request"


@pytest.mark.parametrize(
    "arguments",
    [{"policy": "nearest"}, {"service_config": policy("nearest")}],
    ids=["argument", "config"],
)
def test_an_unknown_policy_is_an_error_that_lists_the_known_ones(
    arguments: dict[str, Any], connect: Connect
) -> None:
    with pytest.raises(ServiceConfigError) as caught:
        connect("static:///127.0.0.1:1", **arguments)
    text = str(caught.value)
    assert "nearest" in text
    assert [name for name in NAMES if name not in text] == []


async def test_a_list_of_configs_takes_the_first_that_is_known(
    fleet: Fleet, connect: Connect
) -> None:
    config: dict[str, object] = {
        "loadBalancingConfig": [{"rls": {}}, {"random": {}}, {"round_robin": {}}]
    }
    client = connect(fleet(1).target, service_config=config)
    await calls(client, 1)
    assert snapshot(client).policy == "random"


async def test_pick_first_connects_one_and_goes_on_with_the_next(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    client = connect(backends.target, policy="pick_first")
    await calls(client, 5)
    assert backends.calls == [5, 0, 0]
    assert [one.connectivity for one in snapshot(client).backends].count(None) == 2
    await asyncio.to_thread(backends[0].stop)
    await eventually(lambda: listed(client)[backends[1].address].connectivity is READY)
    await calls(client, 5)
    assert backends.calls == [5, 5, 0]


async def test_round_robin_gives_each_its_turn_whatever_its_weight(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(3)
    lister.serve(SERVICE, backends, weights=(1, 5, 9))
    client = connect(lister.target(SERVICE), policy="round_robin")
    await connected(client, 3)
    await calls(client, 12)
    assert backends.calls == [4, 4, 4]


async def test_weighted_round_robin_is_exact(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(3)
    lister.serve(SERVICE, backends, weights=(5, 3, 2))
    client = connect(lister.target(SERVICE), policy="weighted_round_robin")
    await connected(client, 3)
    await calls(client, 40)
    assert backends.calls == [20, 12, 8]


async def test_weighted_round_robin_goes_by_the_backends_own_reports(
    fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(2)
    backends[0].report(qps=100, application_utilization=0.2)
    backends[1].report(qps=100, application_utilization=0.8)
    settings = {"backendMetrics": True, "blackoutPeriod": "0s", "weightUpdatePeriod": "0.1s"}
    client = connect(backends.target, service_config=policy("weighted_round_robin", **settings))
    await connected(client, 2)
    # Weights are worked out from reports, and reports come with RPCs.
    async with asyncio.timeout(20):
        while not all(one.load for one in snapshot(client).backends):
            await calls(client, 2)
        while True:
            backends.clear_calls()
            await calls(client, 10)
            if backends.calls == [8, 2]:
                break
    backends.clear_calls()
    await calls(client, 50)
    assert abs(backends.calls[0] - 40) < 2


async def test_random_leaves_no_backend_out(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    client = connect(backends.target, policy="random")
    await connected(client, 2)
    await calls(client, 100)
    # By chance alone, once in 2 ** 99 runs.
    assert all(backends.calls)


async def test_least_request_leaves_a_busy_backend_alone(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    # Of a hundred draws from two, all are the same once in 2 ** 99 picks.
    client = connect(backends.target, policy={"least_request": {"choiceCount": 100}})
    await connected(client, 2)
    for backend in backends:
        backend.hang()
    held = client.start("unary_unary", "Unary", b"x", timeout=20)
    await eventually(lambda: sum(backends.calls) == 1)
    busy = backends.calls.index(1)
    idle = backends[1 - busy]
    idle.recover()
    await calls(client, 20)
    assert len(idle.received) == 20
    backends[busy].recover()
    assert await held.response() == b"x"


async def test_peak_ewma_leaves_a_slow_backend_alone(fleet: Fleet, connect: Connect) -> None:
    backends = fleet(2)
    client = connect(backends.target, policy="peak_ewma")
    await connected(client, 2)
    backends[0].delay(0.2)
    await calls(client, 40)
    assert backends.calls[0] <= 4


async def where(client: Client, backends: Sequence[Backend], **kwargs: Any) -> int:
    """Make an RPC and return the index of the backend that it was put on."""
    before = [len(one.received) for one in backends]
    await call(client, **kwargs)
    after = [len(one.received) for one in backends]
    (found,) = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if a != b]
    return found


@pytest.mark.parametrize("name", KEYED)
async def test_a_header_keeps_rpcs_of_one_key_on_one_backend(
    name: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    client = connect(backends.target, service_config=policy(name, requestHashHeader="x-user"))
    await connected(client, 3)
    users = [(("x-user", f"user-{number}"),) for number in range(30)]
    first = [await where(client, backends, metadata=user) for user in users]
    again = [await where(client, backends, metadata=user) for user in users]
    assert again == first
    assert set(first) == {0, 1, 2}


@pytest.mark.parametrize("name", KEYED)
async def test_a_callable_keeps_rpcs_of_one_key_on_one_backend(
    name: str, fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    seen: list[tuple[str, object]] = []

    def by_tenant(
        method: str, metadata: Mapping[str, str | bytes], request: object
    ) -> str | bytes | None:
        assert isinstance(request, Message)
        seen.append((method, request.data))
        return metadata.get("tenant")

    client = connect(backends.target, policy=name, hash_key=by_tenant)
    await connected(client, 3)
    tenants = [(("tenant", f"tenant-{number}"),) for number in range(30)]
    first = [await where(client, backends, metadata=tenant) for tenant in tenants]
    again = [await where(client, backends, metadata=tenant) for tenant in tenants]
    assert again == first
    assert set(first) == {0, 1, 2}
    assert set(seen) == {("/echo.Echo/Unary", b"x")}


@pytest.mark.parametrize("name", KEYED)
async def test_most_keys_of_the_backends_that_stay_stay_with_them(
    name: str, fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(4)
    lister.serve(SERVICE, backends)
    client = connect(
        lister.target(SERVICE), service_config=policy(name, requestHashHeader="x-user")
    )
    await connected(client, 4)
    users = [(("x-user", f"user-{number}"),) for number in range(40)]
    before = [await where(client, backends, metadata=user) for user in users]
    lister.remove(SERVICE, backends[3])
    await eventually(lambda: len(listed(client)) == 3)
    await connected(client, 3)
    after = [await where(client, backends, metadata=user) for user in users]
    moved = [b for b, a in zip(before, after, strict=True) if a != b]
    # The ring's points grow in number where there are fewer backends, and Maglev's table is filled
    # anew: a few move beside those that must.
    assert len([b for b in moved if b != 3]) * 2 < len([b for b in before if b != 3])
    assert before.count(3) == moved.count(3) > 0


class Idlest:
    def __init__(self, backends: Sequence[Any]) -> None:
        self.backends = backends

    def pick(self, key: int = 0, tried: Collection[object] = ()) -> Any:
        return min(self.backends, key=lambda backend: len(backend.in_flight))


class IdlestPolicy(BasePolicy):
    name = "idlest"

    def build(
        self, backends: Sequence[Any], rng: Random, now: Callable[[], float], before: object
    ) -> Idlest:
        return Idlest(backends)


def idlest(config: Mapping[str, object]) -> IdlestPolicy:
    if config.keys() - {"why"}:
        raise ValueError(f"{min(config)} is not known")
    return IdlestPolicy()


@pytest.mark.parametrize(
    "chosen",
    [{"policy": "idlest"}, {"service_config": policy("idlest", why="not")}],
    ids=["argument", "config"],
)
async def test_a_users_own_policy_picks(
    chosen: dict[str, Any], fleet: Fleet, connect: Connect
) -> None:
    backends = fleet(3)
    client = connect(backends.target, policies={"idlest": idlest}, **chosen)
    await connected(client, 3)
    for backend in backends:
        backend.hang()
    held = [client.start("unary_unary", "Unary", b"x", timeout=20) for _ in range(6)]
    await eventually(lambda: backends.calls == [2, 2, 2])
    backends.recover()
    assert [await one.response() for one in held] == [b"x"] * 6
    assert snapshot(client).policy == "idlest"


async def test_a_balancer_may_choose_a_users_own_policy(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    lister.serve(SERVICE, fleet(1), service_config=policy("idlest"))
    client = connect(lister.target(SERVICE), policies={"idlest": idlest})
    await calls(client, 1)
    assert snapshot(client).policy == "idlest"


def test_a_users_own_policy_that_refuses_its_config_is_named(connect: Connect) -> None:
    with pytest.raises(ServiceConfigError, match=r"idlest.*colour is not known"):
        connect(
            "static:///127.0.0.1:1",
            service_config=policy("idlest", colour="red"),
            policies={"idlest": idlest},
        )
