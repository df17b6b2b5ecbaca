"""Rolling updates under load: no RPC fails."""

import asyncio
from collections.abc import Callable

import pytest

from client_resolver.testing import Backend, Backends, Balancer, eventually
from tests.conformance.clients import Client
from tests.conformance.fleet import SERVICE, connected, listed, retrying
from tests.conformance.traffic import Traffic

Fleet = Callable[..., Backends]
Connect = Callable[..., Client]

BACKENDS = 5
TIMES = 20


async def replaced(
    old: Backend, new: Backend, client: Client, lister: Balancer, *, waits: bool
) -> None:
    """Replace one backend: list the new one, take the old one off, and stop it.

    Args:
        waits: The old one goes on until clients know that it leaves, as with a `preStop` sleep.
    """
    lister.add(SERVICE, new)
    await eventually(lambda: new.received)
    lister.remove(SERVICE, old)
    if waits:
        await eventually(lambda: old.address not in listed(client))
    await asyncio.to_thread(old.stop, 20)


@pytest.mark.parametrize("waits", [True, False], ids=["prestop", "retries"])
async def test_no_rpc_fails_in_twenty_rolling_updates_under_load(
    waits: bool,
    fleet: Fleet,
    lister: Balancer,
    connect: Connect,
    figures: Callable[[object], None],
) -> None:
    backends = fleet(BACKENDS)
    lister.serve(SERVICE, backends)
    # A server that stops at once may fail RPCs in a way that can't be told from those that it has
    # processed: only their caller knows that they may be made again.
    again = retrying(maxAttempts=5, retryableStatusCodes=["UNAVAILABLE", "CANCELLED"])
    client = connect(lister.target(SERVICE), service_config=None if waits else again)
    await connected(client, BACKENDS)
    async with Traffic(client) as traffic:
        for number in range(TIMES):
            more = backends.start(BACKENDS)
            last = number * BACKENDS
            for old, new in zip(backends[last : last + BACKENDS], more, strict=True):
                await replaced(old, new, client, lister, waits=waits)
    figures(traffic)
    assert not traffic.failed
    assert set(listed(client)) == {one.address for one in more}
