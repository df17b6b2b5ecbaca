"""Tables that take long to build hold nothing up: see `client_resolver.core.building`."""

import asyncio
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from client_resolver.core.building import Build
from client_resolver.testing import Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, call, calls, code_of, details_of, failure, policy

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

LARGE = [("ring_hash", {"minRingSize": 4096}), ("maglev", {"tableSize": 4093})]


class Site:
    """Where tables are built, while `closed` not to the end."""

    def __init__(self) -> None:
        self.closed = False
        self.begun = 0


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()
    real = Build.step

    def step(build: Build[object]) -> bool:
        site.begun += 1
        if site.closed:
            time.sleep(0.001)
            return False
        return real(build)

    monkeypatch.setattr(Build, "step", step)
    yield site
    site.closed = False


@pytest.mark.parametrize(("name", "settings"), LARGE)
async def test_rpcs_go_on_while_the_next_table_is_built(
    name: str,
    settings: dict[str, object],
    fleet: Fleet,
    lister: Balancer,
    connect: Connect,
    site: Site,
) -> None:
    backends = fleet(3)
    lister.serve(SERVICE, backends[:2], service_config=policy(name, **settings))
    client = connect(lister.target(SERVICE))
    await calls(client, 4)
    site.closed, site.begun = True, 0
    lister.serve(SERVICE, backends, service_config=policy(name, **settings))
    await eventually(lambda: site.begun > 3)
    backends.clear_calls()
    await calls(client, 30)
    assert backends.calls[2] == 0
    assert sum(backends.calls) == 30
    site.closed = False
    async with asyncio.timeout(20):
        while not backends.calls[2]:
            await call(client)


@pytest.mark.parametrize(("name", "settings"), LARGE)
async def test_an_rpc_waits_for_the_first_table_as_long_as_it_may(
    name: str, settings: dict[str, object], fleet: Fleet, connect: Connect, site: Site
) -> None:
    site.closed = True
    client = connect(fleet(2).target, service_config=policy(name, **settings))
    error = await failure(client, timeout=0.3)
    assert code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: site.begun > 3)
    error = await failure(client, timeout=0.3)
    assert f"while waiting for the first table of {name}" in details_of(error)
    held = client.start("unary_unary", "Unary", b"x", timeout=20)
    site.closed = False
    assert await held.response() == b"x"


async def test_a_channel_that_is_closed_builds_no_more(
    fleet: Fleet, connect: Connect, site: Site
) -> None:
    site.closed = True
    client = connect(fleet(2).target, service_config=policy("maglev", tableSize=4093))
    await failure(client, timeout=0.3)
    await eventually(lambda: site.begun > 3)
    await client.close()
    begun = site.begun
    await calls_of_the_loop(3)
    assert site.begun == begun


async def calls_of_the_loop(count: int) -> None:
    """Let the loop go round: what is still scheduled runs."""
    for _ in range(count):
        await asyncio.sleep(0)
