"""Priorities by locality: near backends first, and what spills over when they fail."""

import asyncio
from collections.abc import Callable

from client_resolver.resolver import Server
from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, calls, connected, snapshot

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

BY_ZONE = {"localityPriorities": {"levels": ["zone"]}}
BY_NODE = {"localityPriorities": {"levels": ["node", "zone"]}}


async def test_all_rpcs_stay_in_the_clients_zone_while_it_is_well(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(4)
    lister.serve(SERVICE, backends, zones=("a", "a", "b", "b"), service_config=BY_ZONE)
    client = connect(lister.target(SERVICE), zone="a")
    await connected(client, 4)
    await calls(client, 10)
    assert backends.calls == [5, 5, 0, 0]


async def test_what_the_clients_zone_cannot_carry_spills_over(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(4)
    lister.serve(SERVICE, backends, zones=("a", "a", "b", "b"), service_config=BY_ZONE)
    client = connect(lister.target(SERVICE), zone="a")
    await connected(client, 4)
    await asyncio.to_thread(backends[0].stop)
    await connected(client, 3)
    await calls(client, 100)
    # Half of the zone is left, times 140 %.
    assert abs(backends.calls[1] - 70) < 2
    assert abs(backends.calls[2] - 15) < 2
    assert abs(backends.calls[3] - 15) < 2
    await asyncio.to_thread(backends[1].stop)
    await connected(client, 2)
    backends.clear_calls()
    await calls(client, 10)
    assert backends.calls == [0, 0, 5, 5]
    await asyncio.to_thread(backends[0].restart)
    await asyncio.to_thread(backends[1].restart)
    await connected(client, 4)
    backends.clear_calls()
    await calls(client, 10)
    assert backends.calls == [5, 5, 0, 0]


async def test_an_ejected_backend_is_missing_in_its_zone(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(4)
    outliers = {
        "consecutiveErrors": 1,
        "interval": "1000s",
        "baseEjectionTime": "1000s",
        "maxEjectionPercent": 50,
    }
    config = {**BY_ZONE, "outlierDetection": outliers}
    lister.serve(SERVICE, backends, zones=("a", "a", "b", "b"), service_config=config)
    client = connect(lister.target(SERVICE), zone="a")
    await connected(client, 4)
    # The text of the failure is of no interest here.
    backends[0].fail(share=1)
    held = [client.start("unary_unary", "Unary", b"x", timeout=20) for _ in range(2)]
    await asyncio.gather(*(one.code() for one in held))
    await eventually(lambda: snapshot(client).ejected == (backends[0].address,))
    await connected(client, 3)
    backends.clear_calls()
    await calls(client, 100)
    assert abs(backends.calls[1] - 70) < 2
    assert backends.calls[0] == 0


async def test_the_clients_own_node_comes_before_its_zone(
    fleet: Fleet, lister: Balancer, connect: Connect
) -> None:
    backends = fleet(3)
    places = (("a", "n1"), ("a", "n2"), ("b", "n3"))
    servers = [
        Server(backend.address, zone=zone, node=node)
        for backend, (zone, node) in zip(backends, places, strict=True)
    ]
    lister.serve(SERVICE, servers, service_config=BY_NODE)
    client = connect(lister.target(SERVICE), zone="a", node="n2")
    await connected(client, 3)
    await calls(client, 5)
    assert backends.calls == [0, 5, 0]
    for gone, left in ((1, [5, 0, 0]), (0, [0, 0, 5])):
        await asyncio.to_thread(backends[gone].stop)
        await connected(client, sum(backend.running for backend in backends))
        backends.clear_calls()
        await calls(client, 5)
        assert backends.calls == left
